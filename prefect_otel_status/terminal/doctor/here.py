"""Checks of this machine: settings, versions, the plugin."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from prefect_otel_status.settings import PREFIX, Settings
from prefect_otel_status.terminal.doctor.check import FAILED, OK, WARNING, Check, Finding
from prefect_otel_status.version import VERSION

SLOW = 30.0
"""Seconds that the check of the plugin has at least: it imports Prefect in a new process."""

_SHOWN = ("prefect", "opentelemetry-sdk", "opentelemetry-exporter-otlp", "prometheus-client")

_BAD = (
    ("sqlalchemy", (2, 1), "Prefect's server schedules no runs with SQLAlchemy 2.1: `<2.1`"),
    ("fastapi", (0, 155), "Prefect's server does not start with FastAPI 0.155: `<0.151`"),
)
"""Releases that are known to break Prefect 3.8 and older from there on, and what to install."""

_PROBE = """
import sys
from prefect import flow

@flow
def probe():
    pass

sys.exit(0 if probe.on_running_hooks else 9)
"""


def checks(settings: Settings, environ: Mapping[str, str]) -> list[Check]:
    """The checks of this machine."""
    return [
        Check("settings", partial(_settings, settings, environ)),
        Check("versions", _versions),
        Check(
            "plugin",
            partial(_plugin, environ),
            "Install prefect-otel-status where the flows run; then set PREFECT_PLUGINS_ENABLED=1.",
            seconds=SLOW,
        ),
    ]


async def _settings(settings: Settings, environ: Mapping[str, str]) -> Finding:
    known = {f"{PREFIX}{name}".upper() for name in type(settings).model_fields}
    given = sorted(name for name in environ if name.upper().startswith(PREFIX.upper()))
    unknown = [name for name in given if name.upper() not in known]
    if unknown:
        return Finding(WARNING, f"nothing reads {', '.join(unknown)}", "Correct or unset them.")
    if not settings.enabled:
        return Finding(WARNING, "telemetry is turned off", f"Unset {PREFIX}ENABLED.".upper())
    names = ", ".join(given) if given else "none are set: the defaults hold"
    return Finding(OK, names)


async def _versions() -> Finding:
    shown = [f"{name} {_version(name)}" for name in _SHOWN]
    python = ".".join(map(str, sys.version_info[:3]))
    found = ", ".join([f"prefect-otel-status {VERSION}", f"Python {python}", *shown])
    bad = [words for name, least, words in _BAD if _numbers(_version(name)) >= least]
    return Finding(WARNING, found, "; ".join(bad) + ".") if bad else Finding(OK, found)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:2]
    return tuple(int(part) for part in parts) if all(p.isdecimal() for p in parts) else (0,)


async def _plugin(environ: Mapping[str, str]) -> Finding:
    env = {**environ, "PREFECT_PLUGINS_ENABLED": "1", "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PROBE,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    if code:
        return Finding(FAILED, f"a process with it on was not instrumented (exit code {code})")
    if str(environ.get("PREFECT_PLUGINS_ENABLED", "")).lower() in ("1", "true"):
        return Finding(OK, "is loaded by `import prefect`, and is on here")
    return Finding(OK, "is loaded where PREFECT_PLUGINS_ENABLED=1 is set; it is not set here")
