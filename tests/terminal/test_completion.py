"""Names for the shell: from the server or a bridge, within a second, and never an error."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from prefect_otel_status.terminal.completion import complete

DEPLOYMENTS = [
    {"name": "prod", "flow_id": "1"},
    {"name": "test", "flow_id": "1"},
    {"name": "prod", "flow_id": "2"},
    {"name": "orphan", "flow_id": "3"},
]
FLOWS = [{"id": "1", "name": "train"}, {"id": "2", "name": "report"}]
ROWS = [{"flow": "train", "deployment": "prod"}, {"flow": "loose", "deployment": None}]


@contextmanager
def answering(answers: dict[str, Any], *, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A server with ANSWERS by path; its host and port, and the credentials that came."""
    credentials: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            credentials.append(self.headers.get("authorization", ""))
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", credentials
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


PREFECT = {"/api/deployments/filter": DEPLOYMENTS, "/api/flows/filter": FLOWS}


@pytest.mark.parametrize(
    ("begun", "names"),
    [
        ("", ["report/prod", "train/prod", "train/test"]),
        ("tr", ["train/prod", "train/test"]),
        ("train/t", ["train/test"]),
        ("x", []),
    ],
)
def test_names_come_from_prefects_server(begun: str, names: list[str]) -> None:
    with answering(PREFECT) as (host, credentials):
        assert complete(begun, environ={"PREFECT_API_URL": f"http://{host}/api/"}) == names
    assert credentials == ["", ""]


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({"PREFECT_API_KEY": "key"}, "Bearer key"),
        (
            {"PREFECT_API_AUTH_STRING": "me:pass", "PREFECT_API_KEY": "key"},
            "Basic " + base64.b64encode(b"me:pass").decode(),
        ),
    ],
)
def test_credentials_go_along(environ: dict[str, str], header: str) -> None:
    with answering(PREFECT) as (host, credentials):
        assert complete("report", environ={"PREFECT_API_URL": f"http://{host}/api", **environ})
    assert credentials == [header, header]


def test_without_an_address_a_bridge_is_asked() -> None:
    with answering({"/api/deployments": ROWS}) as (host, _):
        assert complete("", environ={"PREFECT_OTEL_STATUS_LISTEN": host}) == ["train/prod"]


@pytest.mark.parametrize(
    "environ",
    [
        {"PREFECT_API_URL": "http://127.0.0.1:9/api"},
        {"PREFECT_API_URL": "no address"},
        {"PREFECT_OTEL_STATUS_LISTEN": "127.0.0.1:9"},
    ],
)
def test_who_does_not_answer_gives_no_names(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert complete("", environ=environ) == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("answers", [{}, {"/api/deployments/filter": {"detail": "no"}}])
def test_an_answer_of_another_kind_gives_no_names(answers: dict[str, Any]) -> None:
    with answering(answers) as (host, _):
        assert complete("", environ={"PREFECT_API_URL": f"http://{host}/api"}) == []


def test_a_refusal_gives_no_names() -> None:
    with answering(PREFECT, status=401) as (host, _):
        assert complete("", environ={"PREFECT_API_URL": f"http://{host}/api"}) == []


def test_who_keeps_silent_is_not_waited_for() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        # It never answers, so that this ends at all is the bound.
        assert complete("", environ={"PREFECT_API_URL": f"http://{host}/api"}) == []
