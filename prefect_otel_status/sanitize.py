"""Make text and values safe for every sink: encodable, short, without secrets.

A lone surrogate makes a whole OTLP batch fail to encode and breaks every
Prometheus scrape; an integer above 2**63 loses its attribute; control
characters forge log lines. So everything passes here before a sink sees it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from prefect_otel_status.redact import Redactor

TEXT_LIMIT = 4096
LABEL_LIMIT = 200
NAME_LIMIT = 128
SECRET_LIMIT = 2048
"""Characters beyond a cut in which a secret may end that began before it."""

ATTRIBUTE_LIMIT = 64
ITEM_LIMIT = 128
TOO_MANY_ATTRIBUTES = "too_many_attributes"
UNPRINTABLE = "<unprintable>"

_INT_LIMIT = 2**63
_ESCAPE = "\x1b\\[[0-9;?]*[ -/]*[@-~]"
_UNSAFE = re.compile(f"{_ESCAPE}|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNSAFE_LINE = re.compile(f"{_ESCAPE}|[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SCALARS = frozenset({str, int, float, bool})


def text(value: object, *, limit: int = TEXT_LIMIT) -> str:
    """VALUE as text of at most LIMIT characters that every sink can encode. Never raises."""
    raw = value if type(value) is str else as_text(value)
    if len(raw) > limit:
        raw = raw[: limit - 1] + "…"
    return _UNSAFE.sub(_safe_character, raw) if _UNSAFE.search(raw) else raw


def line(value: object, *, limit: int = LABEL_LIMIT) -> str:
    """VALUE as one line of at most LIMIT characters, fit for a label or a name."""
    raw = value if type(value) is str else as_text(value)
    if len(raw) > limit:
        raw = raw[: limit - 1] + "…"
    return _UNSAFE_LINE.sub(_safe_character, raw) if _UNSAFE_LINE.search(raw) else raw


def _safe_character(match: re.Match[str]) -> str:
    found = match.group()
    if len(found) > 1:
        return ""  # a terminal's escape sequence
    return " " if found in "\t\n\r\u2028\u2029" else "\ufffd"


def as_text(value: object) -> str:
    """VALUE as text, whatever its class does when asked for it."""
    try:
        if isinstance(value, bytes):
            return value[:TEXT_LIMIT].decode("utf-8", "replace")
        return str(value)
    except Exception:
        return f"{UNPRINTABLE} {type(value).__name__}"


def freeze(value: object) -> Any:
    """VALUE as something immutable that a later change cannot reach. Cheap for scalars.

    Called on the flow's thread, so it only does what cannot wait.
    """
    if type(value) in _SCALARS or value is None:
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return _freeze_items(value)
    return _freeze_number(value)


def _freeze_number(value: Any) -> Any:
    # Scalars of numpy, torch and their like.
    try:
        if value.ndim == 0 and type(found := value.item()) in _SCALARS:
            return found
    except Exception:
        return as_text(value)
    return as_text(value)


def _freeze_items(items: Any) -> tuple[Any, ...] | str:
    try:
        head = list(items)[:ITEM_LIMIT]
    except Exception:
        return as_text(items)
    kinds = {type(item) for item in head}
    if kinds <= {str} or kinds == {bool} or kinds == {int} or kinds == {float}:
        return tuple(head)
    return tuple(as_text(item) for item in head)


def attributes(values: Mapping[str, Any], *, redact: Redactor) -> dict[str, Any]:
    """VALUES with safe names and values, without secrets and without None.

    Types are kept: text, integers, floats, booleans and sequences of one of
    these. At most `ATTRIBUTE_LIMIT` of them.
    """
    safe: dict[str, Any] = {}
    for name, value in values.items():
        if value is not None and len(safe) < ATTRIBUTE_LIMIT:
            # Cut last: half of a secret would not be recognised.
            key = line(redact(line(name, limit=NAME_LIMIT + SECRET_LIMIT)), limit=NAME_LIMIT)
            safe[key] = attribute(key, value, redact=redact)
    return safe


def attribute(name: str, value: Any, *, redact: Redactor) -> Any:
    """VALUE of the attribute NAME, safe to send."""
    kind = type(value)
    if kind is str:
        return redact.named(name, text(value, limit=TEXT_LIMIT + SECRET_LIMIT))[:TEXT_LIMIT]
    if redact.is_secret_name(name):
        return redact.named(name, "")
    if kind is bool or kind is float:
        return value
    if kind is int:
        return value if -_INT_LIMIT <= value < _INT_LIMIT else as_text(value)[:TEXT_LIMIT]
    if kind is tuple:
        return _same_kind(tuple(attribute(name, item, redact=redact) for item in value))
    return redact.named(name, text(value))


def _same_kind(items: tuple[Any, ...]) -> tuple[Any, ...]:
    # OpenTelemetry drops a sequence of several kinds; an integer that is too
    # large has become text among integers.
    return items if len({type(item) for item in items}) <= 1 else tuple(as_text(i) for i in items)


def json_value(value: Any) -> Any:
    """VALUE as strict JSON can hold it: no NaN and no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, tuple):
        return [json_value(item) for item in value]
    return value
