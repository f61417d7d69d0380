"""Typed decoding of what a Prefect server sends, which never raises.

What cannot be decoded is passed over, and the reason is reported: `not_json`,
`missing_field`, `wrong_type` or `too_large`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from prefect_otel_status.bridge.wire import Event

T = TypeVar("T")
OnBad = Callable[[str], None]

MAX_EVENT_BYTES = 2_000_000
"""Prefect takes events of up to 1.5 MB, and adds to them what it knows itself."""

_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_EVENT = msgspec.json.Decoder(Event)


def decode_event(
    data: bytes | str | msgspec.Raw, *, on_bad: OnBad, limit: int = MAX_EVENT_BYTES
) -> Event | None:
    """The event in DATA, or None, and then ON_BAD is told why. LIMIT is in bytes."""
    if len(data) > limit:
        on_bad("too_large")
        return None
    event = decode(data, _EVENT, on_bad=on_bad)
    if event is not None and not (event.id and event.event):
        on_bad("missing_field")
        return None
    return event


def decode_all(
    rows: Iterable[msgspec.Raw], decoder: msgspec.json.Decoder[T], *, on_bad: OnBad
) -> list[T]:
    """Those of ROWS that can be decoded."""
    found = (decode(row, decoder, on_bad=on_bad) for row in rows)
    return [row for row in found if row is not None]


def decode(
    data: bytes | str | msgspec.Raw, decoder: msgspec.json.Decoder[T], *, on_bad: OnBad
) -> T | None:
    """DATA as DECODER has it, or None."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        on_bad(_reason(error))
    except (ValueError, RecursionError):
        return _mended(data, decoder, on_bad=on_bad)
    return None


def split(data: bytes) -> list[msgspec.Raw]:
    """The rows of the array DATA, not decoded. Raises `ValueError` where it is not an array."""
    return _RAWS.decode(data)


def _mended(
    data: bytes | str | msgspec.Raw, decoder: msgspec.json.Decoder[T], *, on_bad: OnBad
) -> T | None:
    # Python's own JSON, in which the websocket speaks, allows NaN and lone
    # surrogates: a run that says one must not lose the rest of what it said.
    try:
        text = data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")
        value = json.loads(text, parse_constant=lambda _: None)
        return decoder.decode(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except msgspec.ValidationError as error:
        on_bad(_reason(error))
    except (ValueError, RecursionError):
        on_bad("not_json")
    return None


def _reason(error: msgspec.ValidationError) -> str:
    return "missing_field" if "missing required field" in str(error) else "wrong_type"
