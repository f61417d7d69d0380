"""Text from Prefect's history, made safe before it reaches the store or a receiver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_otel_status import sanitize
from prefect_otel_status.cleaner import Cleaner
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally

_CACHED = 4096
_CACHED_LENGTH = 200


class Cleaning:
    """Takes secrets and control characters out of what the server says.

    Short lines, which are names, come again and again: each is cleaned once.
    """

    def __init__(self, settings: Settings, *, tally: Tally) -> None:
        self._cleaner = Cleaner(settings, tally)
        self._lines: dict[str, str] = {}

    def text(self, value: object) -> str:
        """VALUE as safe text without secrets; empty for None."""
        return self._cleaner.text(value) if value else ""

    def line(self, value: object) -> str:
        """VALUE as one safe line, fit for a label; empty for None."""
        if type(value) is not str:
            return self._cleaner.line(value) if value is not None else ""
        found = self._lines.get(value)
        if found is None:
            found = self._cleaner.line(value)
            self._keep(value, found)
        return found

    def attributes(self, values: object) -> dict[str, Any]:
        """VALUES with safe names and values; empty for what is no mapping."""
        if not values or not isinstance(values, Mapping):
            return {}
        frozen = {str(name): sanitize.freeze(value) for name, value in values.items()}
        return self._cleaner.attributes(frozen)

    def _keep(self, value: str, found: str) -> None:
        if len(value) > _CACHED_LENGTH:
            return
        if len(self._lines) >= _CACHED:
            self._lines.clear()
        self._lines[value] = found
