"""What a run shows in Prefect's UI besides its log: a link to its trace, its progress."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import SpanContext
from prefect import flow

from prefect_otel_status import flow_hooks, signals, status, track
from prefect_otel_status.runs import RunHandle
from prefect_otel_status.sinks import artifact
from prefect_otel_status.sinks.artifact import ProgressArtifact, link_trace
from tests.support.records import SPAN_ID, TRACE_ID, flow_run, task_run
from tests.support.telling import WAIT, Told

Tell = Callable[..., Told]
ADDRESS = "http://ui/trace/{trace_id}"
TRACE = SpanContext(TRACE_ID, SPAN_ID, False)


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The links that are made."""
    found: list[str] = []
    monkeypatch.setattr(artifact, "_create_link", found.append)
    return found


def artifacts(address: str, flow_run_id: str) -> list[dict[str, Any]]:
    """What the server knows of the artifacts of a run."""
    wanted = {"artifacts": {"flow_run_id": {"any_": [flow_run_id]}}}
    request = urllib.request.Request(
        f"{address}/artifacts/filter",
        data=json.dumps(wanted).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=WAIT) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


@pytest.mark.parametrize(
    ("run", "span", "address", "made"),
    [
        (flow_run(), TRACE, ADDRESS, [f"http://ui/trace/{TRACE_ID:032x}"]),
        (flow_run(), TRACE, None, []),
        (flow_run(), SpanContext(TRACE_ID, 0, True), ADDRESS, []),
        (task_run(), TRACE, ADDRESS, []),
    ],
)
def test_a_flow_run_with_a_trace_is_linked_once(
    told: Told, links: list[str], run: Any, span: SpanContext, address: str | None, made: list[str]
) -> None:
    handle = RunHandle(run, span_context=span)
    background = told.runtime.background
    for _ in range(2):
        link_trace(handle, address=address, background=background)
    assert background.flush(WAIT)
    assert links == made


def test_a_server_that_refuses_is_counted_and_tried_again_with_the_next(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr("prefect.artifacts.create_progress_artifact", refuse)
    shown = ProgressArtifact(told.runtime.background)
    shown.show(0.0, "a")
    shown.show(0.5, "a")
    assert told.runtime.background.flush(WAIT)
    assert told.tally(signals.PROCESS_FAILURES) == {"progress_artifact": 2}


@pytest.mark.server
def test_the_server_shows_the_link_and_the_progress_of_a_run(tell: Tell, prefect_here: str) -> None:
    told = tell(trace_url=ADDRESS, progress_artifact=True)

    @flow(**flow_hooks())
    def tracked() -> None:
        list(track(["a", "b"], "{done} of {total}, password=hunter22"))
        status("done")

    tracked()
    assert told.runtime.background.flush(30)
    run = told.statuses[0].run
    assert run is not None
    found = {one["type"]: one for one in artifacts(prefect_here, run.id)}
    assert sorted(found) == ["markdown", "progress"]
    trace = f"http://ui/trace/{told.statuses[0].trace_id:032x}"
    assert (found["markdown"]["key"], found["markdown"]["data"]) == (
        "trace",
        f"[Open the trace]({trace})",
    )
    assert found["progress"]["data"] == 100.0
    assert found["progress"]["description"] == "0 of 2, password=[redacted]"
    assert told.tally(signals.PROCESS_FAILURES) == {}


@pytest.mark.server
def test_without_the_settings_the_server_shows_neither(told: Told, prefect_here: str) -> None:
    @flow(**flow_hooks())
    def plain() -> None:
        list(track(["a", "b"], "{done} of {total}"))

    plain()
    assert told.runtime.background.flush(30)
    run = told.statuses[0].run
    assert run is not None
    assert artifacts(prefect_here, run.id) == []
