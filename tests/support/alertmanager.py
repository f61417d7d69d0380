"""A real Alertmanager, and a webhook that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.support.processes import beside, program
from tests.support.server import free_port


class Webhook:
    """What came so far: each alert of each notification, the oldest first."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.address = ""

    def named(self, name: str, status: str = "firing") -> list[dict[str, Any]]:
        """The alerts called NAME that came as `firing` or `resolved`."""
        return [
            alert
            for alert in list(self.alerts)
            if (alert["labels"]["alertname"], alert["status"]) == (name, status)
        ]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Take notifications until the end."""
    found = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            found.alerts.extend(json.loads(self.rfile.read(length))["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """What came is kept; nobody reads a log."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def alertmanager(folder: Path, config: str) -> Iterator[str]:
    """Run one with CONFIG until the end; its host and port."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "alertmanager.yml"
    path.write_text(config)
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={path}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with beside(command, env={}, log=folder / "alertmanager.log"):
        yield address
