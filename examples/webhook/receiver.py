"""Shows the alerts that Alertmanager sends: a line each, and the latest as JSON at `/`.

`python -m examples.webhook.receiver [HOST:PORT]`, by default 127.0.0.1:8080.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEPT = 100
"""Alerts that are kept to be shown."""

LARGEST = 1_000_000
"""Bytes of a request; Alertmanager's are far smaller."""


class Receiver(ThreadingHTTPServer):
    """Listens on HOST and PORT; `received` holds the latest alerts, the newest last."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), Handler)
        self.received: deque[dict[str, Any]] = deque(maxlen=KEPT)


class Handler(BaseHTTPRequestHandler):
    """Takes a POST to any path, which names the route that the alert came by."""

    server: Receiver

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= LARGEST:
            return self._answer(413, {"error": f"Send at most {LARGEST} bytes, and say how many."})
        try:
            alerts = list(alerts_of(json.loads(self.rfile.read(length)), self.path.strip("/")))
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._answer(400, {"error": "This is no webhook of Alertmanager's."})
        self.server.received.extend(alerts)
        for alert in alerts:
            print(line_of(alert), flush=True)
        return self._answer(200, {"received": len(alerts)})

    def do_GET(self) -> None:
        self._answer(200, list(self.server.received))

    def _answer(self, status: int, body: Any) -> None:
        text = json.dumps(body, indent=2).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """The alerts are what is to be read, not the requests."""


def alerts_of(message: dict[str, Any], route: str) -> Iterator[dict[str, Any]]:
    """The alerts in a MESSAGE that came by ROUTE. Raises `KeyError` where it is none."""
    for alert in message["alerts"]:
        yield {
            "route": route,
            "status": alert["status"],
            "labels": dict(alert["labels"]),
            "annotations": dict(alert["annotations"]),
        }


def line_of(alert: dict[str, Any]) -> str:
    """An alert in a line: its route, whether it fires, what it is and where to look."""
    labels, notes = alert["labels"], alert["annotations"]
    parts = (
        f"{alert['route']}: {alert['status']}: {labels.get('alertname')}",
        notes.get("summary"),
        notes.get("status_url") or notes.get("dashboard_url"),
        notes.get("runbook_url"),
    )
    # A line each, whatever a flow is called: nothing in it may begin another one.
    return " | ".join(" ".join(part.split()) for part in parts if part)


def main(arguments: list[str]) -> None:
    """Receive until it is stopped."""
    host, _, port = (arguments[0] if arguments else "127.0.0.1:8080").rpartition(":")
    with Receiver(host, int(port)) as receiver:
        receiver.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
