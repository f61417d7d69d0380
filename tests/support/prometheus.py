"""A real Prometheus that scrapes one address every second, and questions to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing; none while Prometheus does not answer."""
        try:
            answer = httpx.get(f"{self.address}/api/v1/alerts", timeout=10)
        except httpx.TransportError:
            return []
        found: list[dict[str, Any]] = answer.json()["data"]["alerts"]
        return found

    def samples(self, selector: str, window: str = "10m") -> list[Sample]:
        """The scraped samples of the only series of SELECTOR in WINDOW, the oldest first."""
        found = self.query(f"{selector}[{window}]")
        assert len(found) <= 1, found
        return [(at, float(value)) for at, value in found[0]["values"]] if found else []


@contextmanager
def prometheus(
    folder: Path,
    target: str,
    *,
    job: str = "bridge",
    rules: Sequence[Path] = (),
    alertmanager: str = "",
) -> Iterator[Prometheus]:
    """Scrape TARGET, a host and port, as JOB every second until the end.

    The RULES are evaluated every second; alerts go to the host and port of ALERTMANAGER.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_config(target, job, rules, alertmanager)))  # which is YAML
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with beside(command, env={}, log=folder / "prometheus.log"):
        yield Prometheus(f"http://{address}")


def _config(target: str, job: str, rules: Sequence[Path], alertmanager: str) -> dict[str, Any]:
    scraped = {"targets": [target], "labels": {"instance": job}}
    managers = [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": job, "static_configs": [scraped]}],
        "rule_files": [str(path) for path in rules],
        "alerting": {"alertmanagers": managers},
    }
