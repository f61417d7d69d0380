"""Checks of what stands behind: the bridge, Prometheus, Alertmanager, Grafana, Jaeger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from prefect_otel_status import signals
from prefect_otel_status.bridge.serving import parse_listen
from prefect_otel_status.bridge.token import read_token
from prefect_otel_status.settings import ConfigurationError, Settings
from prefect_otel_status.signals import Metric
from prefect_otel_status.terminal.doctor.check import FAILED, OK, SKIPPED, WARNING, Check, Finding
from prefect_otel_status.terminal.doctor.telemetry import Probe

RULES = "prefect"
"""How the names of our groups of rules begin."""

_EVERY = 0.3
_LAG = 60.0
"""Seconds that a bridge may lag behind before that is a warning."""


@dataclass(frozen=True)
class Addresses:
    """Where things are; empty for what is not to be checked. The bridge has a default."""

    bridge: str = ""
    prometheus: str = ""
    alertmanager: str = ""
    grafana: str = ""
    jaeger: str = ""

    def __post_init__(self) -> None:
        """Raise `ConfigurationError` for what is no address; it repeats none."""
        for field in fields(self):
            url = getattr(self, field.name)
            parts = urlsplit(url)
            if url and not (parts.scheme in ("http", "https") and parts.hostname):
                raise ConfigurationError(f"--{field.name} is no address: write http://HOST:PORT.")


Look = Callable[[str], Awaitable[Finding]]


def checks(settings: Settings, addresses: Addresses, probe: Probe) -> list[Check]:
    """The checks of ADDRESSES."""
    bridge = addresses.bridge or f"http://{parse_listen(settings.listen, allow_public=True)}"
    token = read_token(settings.web_token_file)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    start = "Start it with `prefect-otel-status bridge`, or name another with --bridge."
    given: list[tuple[str, str, Look]] = [
        ("prometheus", addresses.prometheus, _prometheus),
        ("alertmanager", addresses.alertmanager, _alertmanager),
        ("grafana", addresses.grafana, _grafana),
        ("jaeger", addresses.jaeger, partial(_jaeger, probe)),
    ]
    return [
        Check("bridge", partial(_bridge, bridge, headers, bool(addresses.bridge)), start),
        *(
            Check(name, partial(look, url), f"Is {name} there? Correct --{name}.")
            if url
            else Check(name, partial(_not_given, name))
            for name, url, look in given
        ),
    ]


async def _not_given(name: str) -> Finding:
    return Finding(SKIPPED, f"not checked: name it with --{name} URL")


async def _bridge(url: str, headers: Mapping[str, str], is_named: bool) -> Finding:
    async with _client(url, headers) as client:
        try:
            ready = await client.get("/readyz")
        except httpx.ConnectError:
            if is_named:
                raise
            return Finding(WARNING, "none runs here", "Start `prefect-otel-status bridge`.")
        report = _object(ready)
        answer = await client.get("/metrics")
        answer.raise_for_status()
    if report.get("lease") == "waiting":
        return Finding(OK, "waits: another one has the lease")
    wrong = [
        part["sentence"]
        for part in report.values()
        if isinstance(part, dict) and not part.get("ok", True)
    ]
    if wrong:
        return Finding(FAILED, " ".join(wrong), "See the bridge's log.")
    return _scraped(answer.text)


def _scraped(text: str) -> Finding:
    values: dict[str, float] = {}
    series = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series += 1
            values.setdefault(sample.name, sample.value)
    lag = values.get(_name(signals.BRIDGE_LAG), 0.0)
    found = f"works, shows {series} series, and is {lag:.0f} s behind"
    if lag > _LAG:
        return Finding(WARNING, found, "See docs/runbooks/BridgeLagging.md.")
    if not values.get(_name(signals.BRIDGE_CONNECTED), 1.0):
        return Finding(WARNING, f"{found}; it has no stream of events", "See `event stream` above.")
    return Finding(OK, found)


def _name(metric: Metric) -> str:
    return metric.prometheus_name


async def _prometheus(url: str) -> Finding:
    async with _client(url) as client:
        (await client.get("/-/healthy")).raise_for_status()
        lag = _name(signals.BRIDGE_LAG)
        found = _object(await client.get("/api/v1/query", params={"query": lag}))
        groups = _object(await client.get("/api/v1/rules"))
    series = found.get("data", {}).get("result", [])
    if not series:
        return Finding(
            FAILED,
            "it has no metric of a bridge",
            "Scrape the bridge: see docs/how-to/existing-grafana-prometheus.md.",
        )
    job = series[0].get("metric", {}).get("job", "?")
    names = [group.get("name", "") for group in groups.get("data", {}).get("groups", [])]
    ours = [name for name in names if name.startswith(RULES)]
    if not ours:
        advice = "Load dashboards/prometheus: see docs/how-to/existing-grafana-prometheus.md."
        return Finding(WARNING, f"scrapes the bridge as job {job}, without our rules", advice)
    return Finding(OK, f"scrapes the bridge as job {job}, with {len(ours)} groups of rules")


async def _alertmanager(url: str) -> Finding:
    async with _client(url) as client:
        (await client.get("/-/ready")).raise_for_status()
        answer = await client.get("/api/v2/alerts", params={"filter": 'alertname="Watchdog"'})
        answer.raise_for_status()
    if answer.json():
        return Finding(OK, "the Watchdog arrives")
    advice = "Point Prometheus at it; see docs/runbooks/Watchdog.md."
    return Finding(WARNING, "it is ready, but no Watchdog arrives", advice)


async def _grafana(url: str) -> Finding:
    async with _client(url) as client:
        report = _object(await client.get("/api/health"))
    if report.get("database") != "ok":
        return Finding(FAILED, f"its database is {report.get('database')}", "See Grafana's log.")
    return Finding(OK, f"version {report.get('version')}")


async def _jaeger(probe: Probe, url: str) -> Finding:
    """The probe, found again by its trace id."""
    async with _client(url) as client:
        while True:
            answer = await client.get(f"/api/traces/{probe.hex}")
            if answer.status_code == 200 and answer.json().get("data"):
                return Finding(OK, f"the probe was found again: trace {probe.hex}")
            if answer.status_code not in (200, 404):
                answer.raise_for_status()
            await asyncio.sleep(_EVERY)


def _client(url: str, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, follow_redirects=False)


def _object(answer: httpx.Response) -> dict[str, Any]:
    found = answer.json()
    return found if isinstance(found, dict) else {}
