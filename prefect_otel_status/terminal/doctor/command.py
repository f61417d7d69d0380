"""What the command `doctor` does: all checks, a line each."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from functools import partial

from rich.text import Text

from prefect_otel_status.bridge.server import PrefectServer, from_prefect_settings
from prefect_otel_status.settings import ConfigurationError, Settings
from prefect_otel_status.terminal.doctor import backends, here, server, telemetry
from prefect_otel_status.terminal.doctor.backends import Addresses
from prefect_otel_status.terminal.doctor.check import (
    FAILED,
    OK,
    SKIPPED,
    WARNING,
    Check,
    Finding,
    Result,
    results,
)
from prefect_otel_status.terminal.doctor.telemetry import Probe
from prefect_otel_status.terminal.prefect import prefect

_MARKS = {OK: ("✓", "green"), WARNING: ("!", "yellow"), FAILED: ("✗", "red"), SKIPPED: ("–", "dim")}


async def examine(
    settings: Settings,
    addresses: Addresses,
    *,
    timeout: float,
    environ: Mapping[str, str] = os.environ,
    prefect_server: Callable[[], PrefectServer] = from_prefect_settings,
) -> AsyncIterator[Result]:
    """How each check comes out, in their order."""
    probe = Probe()
    first = here.checks(settings, environ)
    rest = [
        *telemetry.checks(settings, environ, probe),
        *backends.checks(settings, addresses, probe),
    ]
    try:
        async with prefect(settings, server=prefect_server) as history:
            of_server = server.checks(history, prefect_server)
            async for result in results([*first, *of_server, *rest], timeout=timeout):
                yield result
    except ConfigurationError as error:
        refused = Check("prefect server", partial(_refused, str(error)))
        async for result in results([*first, refused, *rest], timeout=timeout):
            yield result


async def _refused(sentence: str) -> Finding:
    return Finding(FAILED, sentence)


def as_text(result: Result) -> Text:
    """RESULT as a line, and what to do as a second."""
    mark, colour = _MARKS[result.outcome]
    line = Text.assemble((f"{mark} ", colour), (f"{result.check:<15}", "bold"), result.found)
    if result.advice:
        line.append(f"\n  {'':<15}→ {result.advice}", colour)
    return line


def as_json(found: list[Result]) -> str:
    """FOUND as one JSON array."""
    return json.dumps([asdict(result) for result in found], ensure_ascii=False, indent=2)
