"""A real Prometheus that scrapes one address every second, and questions to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import beside, program
from tests.support.server import free_port

Sample = tuple[float, float]
"""A time and a value."""


class Prometheus:
    """Questions to the Prometheus at ADDRESS."""

    def __init__(self, address: str) -> None:
        self.address = address

    def query(self, expression: str, **parameters: Any) -> list[dict[str, Any]]:
        """What EXPRESSION gives; nothing while Prometheus does not answer."""
        asked = {"query": expression, **parameters}
        try:
            answer = httpx.get(f"{self.address}/api/v1/query", params=asked, timeout=10)
        except httpx.TransportError:
            return []
        found: list[dict[str, Any]] = answer.json().get("data", {}).get("result", [])
        return found

    def value(self, expression: str, **parameters: Any) -> float | None:
        """The only value of EXPRESSION; None where it gives nothing."""
        found = self.query(expression, **parameters)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def samples(self, selector: str, window: str = "10m") -> list[Sample]:
        """The scraped samples of the only series of SELECTOR in WINDOW, the oldest first."""
        found = self.query(f"{selector}[{window}]")
        assert len(found) <= 1, found
        return [(at, float(value)) for at, value in found[0]["values"]] if found else []


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Scrape TARGET, a host and port, every second until the end."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: bridge, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with beside(command, env={}, log=folder / "prometheus.log"):
        yield Prometheus(f"http://{address}")
