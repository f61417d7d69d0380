"""A program: an OTLP receiver that can be killed. `python -m tests.support.collector PORT FOLDER`.

Each request is written down, as a line of base64, before it is answered; while
there is a file `hang` in FOLDER, it is not answered.
"""

from __future__ import annotations

import base64
import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

RECEIVED, HANG = "received", "hang"


def requests_of(folder: Path) -> list[bytes]:
    """The requests that were received so far, the earliest first."""
    path = folder / RECEIVED
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [base64.b64decode(line) for line in lines]


def span_names(request: bytes) -> list[str]:
    """The names of the spans in REQUEST."""
    resources = ExportTraceServiceRequest.FromString(request).resource_spans
    return [span.name for r in resources for scope in r.scope_spans for span in scope.spans]


class Handler(BaseHTTPRequestHandler):
    """Answers each request with success."""

    folder = Path()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with (self.folder / RECEIVED).open("ab", buffering=0) as file:
            file.write(base64.b64encode(body) + b"\n")
        if (self.folder / HANG).exists():
            threading.Event().wait()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
