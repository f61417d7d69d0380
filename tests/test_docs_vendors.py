"""What the page about vendors sets, sent by the real exporters to a receiver in their place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from prefect_otel_status.choice import GRPC, HTTP, Choice, choose, factory
from prefect_otel_status.exporters.preferences import from_environment
from prefect_otel_status.settings import Settings
from tests.support.console import DOCS, Block, blocks_of
from tests.support.grpc_receiver import grpc_receiver

KEYS = {"INSTANCE_ID": "1234", "TOKEN": "glc_abc", "HONEYCOMB_API_KEY": "hcaik_abc"}
"""What who has an account puts in."""

OTLP = (Choice("otlp", HTTP),)
BASIC = "Basic MTIzNDpnbGNfYWJj"


@dataclass
class Asked:
    """The requests that a receiver got: path and headers."""

    address: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def _http_receiver() -> Iterator[Asked]:
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.requests.append((self.path, headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: the test tells."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    asked.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _block(name: str, page: str = "otlp-to-vendors.md") -> Block:
    found = [block for block in blocks_of(DOCS / "how-to" / page)
             if any(name in command.text for command in block.commands)]  # fmt: skip
    return found[0]


def _environment(block: Block) -> dict[str, str]:
    """The OTEL variables that a shell has after BLOCK."""
    dump = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    script = "\n".join([*(command.text for command in block.commands), dump])
    env = {"PATH": os.environ["PATH"], **KEYS}
    done = subprocess.run(
        ["bash", "-ec", script], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return {name: value for name, value in found.items() if name.startswith("OTEL_")}


def _send_span(environ: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a span as ENVIRON says, but to ADDRESS in the place of the vendor."""
    (choice,) = choose("traces", environ)
    path = urlsplit(environ["OTEL_EXPORTER_OTLP_ENDPOINT"]).path
    for name, value in {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": address + path}.items():
        monkeypatch.setenv(name, value)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(factory("traces", choice, Settings())()))
    provider.get_tracer("test").start_span("RUN deploy").end()
    provider.shutdown()


@pytest.mark.parametrize("page", ["otlp-to-vendors.md", "otlp-with-headers.md"])
def test_grafana_cloud_gets_its_path_and_its_header(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = _environment(_block("grafana.net", page))
    assert [choose(name, environ) for name in ("traces", "metrics", "logs")] == [OTLP] * 3
    with _http_receiver() as asked:
        _send_span(environ, asked.address, monkeypatch)
    ((path, headers),) = asked.requests
    assert (path, headers["authorization"], headers["content-type"]) == (
        "/otlp/v1/traces",
        BASIC,
        "application/x-protobuf",
    )


def test_honeycomb_gets_its_key_and_the_metrics_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = _environment(_block("honeycomb.io"))
    assert [choose(name, environ) for name in ("traces", "metrics", "logs")] == [OTLP] * 3
    with _http_receiver() as asked:
        _send_span(environ, asked.address, monkeypatch)
        factory("metrics", *OTLP, Settings())().export(MetricsData(resource_metrics=[]))
    wanted = ("x-honeycomb-team", "x-honeycomb-dataset")
    came = {path: [headers.get(name) for name in wanted] for path, headers in asked.requests}
    assert came == {
        "/v1/traces": ["hcaik_abc", None],
        "/v1/metrics": ["hcaik_abc", "prefect-metrics"],
    }


def test_tempo_gets_traces_alone_with_the_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = _environment(_block("tempo.example"))
    assert [choose(name, environ) for name in ("traces", "metrics", "logs")] == [
        (Choice("otlp", GRPC),),
        (),
        (),
    ]
    with grpc_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", GRPC)
        _send_span(environ, received.endpoint, monkeypatch)
    assert [span.name for span in received.spans] == ["RUN deploy"]
    assert received.headers[0]["x-scope-orgid"] == "team-a"


def test_a_datadog_agent_gets_grpc_and_deltas() -> None:
    environ = _environment(_block("=delta"))
    assert choose("traces", environ) == (Choice("otlp", GRPC),)
    temporality = from_environment(environ)["preferred_temporality"]
    assert {kind.__name__: value.name for kind, value in temporality.items()}["Counter"] == "DELTA"


def test_each_vendor_has_a_source() -> None:
    text = (DOCS / "how-to" / "otlp-to-vendors.md").read_text(encoding="utf-8")
    sections = text.split("\n## ")[1:]
    without = [section.splitlines()[0] for section in sections if "Source: [" not in section]
    assert without == ["Several of them"]
