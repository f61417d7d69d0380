"""The batches of statuses and stages that flows send as Prefect events, read as facts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.records import StageFact, StatusFact
from prefect_otel_status.model import LEVELS

_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_MOST_FLAGS = 16


def read(
    payload: dict[str, Any], clean: Cleaning, *, received: int
) -> Iterator[StatusFact | StageFact]:
    """The statuses and stages in PAYLOAD, which any client may have written."""
    for body in _bodies(payload.get("statuses")):
        yield _status(body, clean, received)
    for body in _bodies(payload.get("stages")):
        stage = _stage(body, clean, received)
        if stage.span_id and stage.started:  # else it has no key, or no length
            yield stage


def _bodies(value: Any) -> list[dict[str, Any]]:
    return [body for body in value if isinstance(body, dict)] if isinstance(value, list) else []


def _status(body: dict[str, Any], clean: Cleaning, received: int) -> StatusFact:
    level = body.get("level")
    return StatusFact(
        at=_number(body.get("timestamp")),
        template=clean.line(body.get("template")),
        message=clean.text(body.get("message")),
        event=clean.line(body.get("event")),
        stage=clean.line(body.get("stage")),
        level=level if level in LEVELS else "info",
        progress=_ratio(body.get("progress")),
        attempt=_number(body.get("attempt")),
        sequence=_number(body.get("sequence")),
        span_id=_hex(body.get("span_id")),
        attributes=clean.attributes(body.get("attributes")),
        bound=clean.attributes(body.get("bound")),
        flags=_flags(body.get("flags"), clean),
        received=received,
    )


def _stage(body: dict[str, Any], clean: Cleaning, received: int) -> StageFact:
    return StageFact(
        name=clean.line(body.get("name")),
        span_id=_hex(body.get("span_id")),
        started=_number(body.get("started")),
        ended=_number(body.get("ended")),
        parent_span_id=_hex(body.get("parent_span_id")),
        result="failure" if body.get("result") == "failure" else "success",
        bound=clean.attributes(body.get("bound")),
        received=received,
    )


def _number(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else 0


def _hex(value: Any) -> int:
    return int(value, 16) if isinstance(value, str) and _SPAN_ID.fullmatch(value) else 0


def _flags(value: Any, clean: Cleaning) -> tuple[str, ...]:
    flags = value[:_MOST_FLAGS] if isinstance(value, list) else ()
    return tuple(clean.line(flag) for flag in flags if isinstance(flag, str))


def _ratio(value: Any) -> float | None:
    is_number = type(value) is float or (type(value) is int and abs(value) < 2**63)
    return float(value) if is_number and math.isfinite(value) else None
