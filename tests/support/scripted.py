"""An HTTP server that answers as it is told: refusals, delays, silence."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Answer:
    """What is answered; None for the status keeps silent until the server ends."""

    status: int | None = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A request as it came, its body unpacked."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def names(self) -> list[str]:
        """The names of the spans in it."""
        request = ExportTraceServiceRequest.FromString(self.body)
        scopes = [scope for group in request.resource_spans for scope in group.scope_spans]
        return [span.name for scope in scopes for span in scope.spans]


@dataclass
class Scripted:
    """A server, what it was asked, and how it answers: the script in turn, then `otherwise`."""

    endpoint: str = ""
    script: list[Answer] = field(default_factory=list)
    otherwise: Callable[[Request], Answer] = lambda request: Answer()
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.script.pop(0) if self.script else self.otherwise(request)


@contextmanager
def scripted_receiver(
    *answers: Answer, tls: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[Scripted]:
    """Answer with ANSWERS in turn and 200 after, on a loopback port."""
    scripted = Scripted(script=list(answers))
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(scripted))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    scripted.endpoint = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        scripted.released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def _handler(scripted: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._answer(scripted.answer(Request(self.path, headers, body)))

        def _answer(self, answer: Answer) -> None:
            if answer.status is None:
                scripted.released.wait(30)
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
