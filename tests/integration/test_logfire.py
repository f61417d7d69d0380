"""Beside Logfire: its provider is used, and nothing of it is replaced."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from prefect_otel_status.ids import hex_trace_id, trace_id_of

pytestmark = pytest.mark.server

SCRIPT = """
import json, logfire
from logfire.testing import TestExporter
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

exporter = TestExporter()
logfire.configure(
    send_to_logfire=False, console=False, inspect_arguments=False,
    additional_span_processors=[SimpleSpanProcessor(exporter)],
)
before = trace.get_tracer_provider()

from prefect import flow, task
from prefect_otel_status import flow_hooks, stage, status, task_hooks

@task(**task_hooks())
def score():
    status("Scored {model}", model="bert")

@flow(**flow_hooks())
def deploy():
    with stage("evaluate"), logfire.span("inside {where}", where="the stage"):
        score()

deploy()
assert trace.get_tracer_provider() is before
import prefect_otel_status.runtime as runtime
assert runtime.get().providers().owned == (), "nothing of ours stands beside Logfire's"
print("SPANS=" + json.dumps([
    {
        "name": span.name,
        "kind": span.kind.name,
        "trace": f"{span.context.trace_id:032x}",
        "run": (span.attributes or {}).get("cicd.pipeline.run.id"),
        "parent": next((p.name for p in exporter.exported_spans
                        if span.parent and p.context.span_id == span.parent.span_id), None),
        "said": [e.name for e in span.events if "prefect_status.message" in e.attributes],
    }
    for span in exporter.exported_spans
    if (span.attributes or {}).get("logfire.span_type") != "pending_span"
]))
"""


def test_logfires_provider_gets_mended_spans(flow_env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=flow_env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("SPANS=")]
    spans = {span["name"]: span for span in json.loads(line.removeprefix("SPANS="))}
    assert {name: (span["parent"], span["said"]) for name, span in spans.items()} == {
        "RUN deploy": (None, []),
        "evaluate": ("RUN deploy", []),
        "inside {where}": ("evaluate", []),
        "score": ("inside {where}", ["Scored {model}"]),
    }
    assert spans["RUN deploy"]["kind"] == "SERVER"
    expected = hex_trace_id(trace_id_of(spans["RUN deploy"]["run"]))
    assert {span["trace"] for span in spans.values()} == {expected}
