"""Make records safe before any sink sees them, and judge them by the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from prefect_otel_status import sanitize, signals
from prefect_otel_status.model import (
    GateResult,
    LogLine,
    Record,
    Run,
    StageEnd,
    StageStart,
    Status,
    Transition,
)
from prefect_otel_status.redact import Redactor
from prefect_otel_status.settings import Settings
from prefect_otel_status.tally import Tally

UNKNOWN_STAGE = "unknown_stage"
LONG_MESSAGE = "long_message"
RESERVED_NAME = "reserved_attribute"

_CACHED_NAMES = 1024
_CACHED_LENGTH = 512
_LONGEST_SECRET = 2048


class Cleaner:
    """Sanitises and redacts records; flags and counts what is outside the vocabulary."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self._settings = settings
        self._tally = tally
        self._names: dict[str, str] = {}
        self._runs: dict[Run, Run] = {}
        self.redact = Redactor(
            extra=settings.redact,
            on_secret=lambda kind: tally.add(signals.PROCESS_REDACTIONS, kind),
        )

    def clean(self, record: Record) -> Record:
        """RECORD, safe to send anywhere."""
        if isinstance(record, Status):
            return self._status(record)
        if isinstance(record, Transition):
            return self._transition(record)
        if isinstance(record, LogLine):
            return self._log_line(record)
        if isinstance(record, StageStart):
            return msgspec.structs.replace(
                record, run=self.run(record.run), stage=self.line(record.stage)
            )
        return self._named(record)

    def text(self, value: object, *, limit: int = sanitize.TEXT_LIMIT) -> str:
        """VALUE as safe text without secrets."""
        # A secret must be found before the cut, or half of it would stay. What
        # lies further on than a secret is long is cut off beforehand.
        head = sanitize.text(value, limit=limit + _LONGEST_SECRET)
        return sanitize.text(self.redact(head), limit=limit)

    def line(self, value: object, *, limit: int = sanitize.LABEL_LIMIT) -> str:
        """VALUE as one safe line without secrets."""
        return sanitize.line(self.text(value), limit=limit)

    def run(self, run: Run | None) -> Run | None:
        """RUN with names that are safe as labels and span names; the ids are Prefect's."""
        if run is None or run in self._runs:
            return run and self._runs[run]
        if len(self._runs) >= _CACHED_NAMES:
            self._runs.clear()
        clean = msgspec.structs.replace(
            run,
            name=self.line(run.name),
            flow_name=self.line(run.flow_name),
            task_name=self.line(run.task_name),
        )
        self._runs[run] = clean
        return clean

    def attributes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """VALUES with safe names and values."""
        return sanitize.attributes(values, redact=self.redact) if values else {}

    def _status(self, status: Status) -> Status:
        flags = (*status.flags, *self._judge(status))
        for flag in flags:
            self._tally.add(signals.PROCESS_FLAGS, flag)
        return Status(
            template=self._name(status.template),
            message=self.text(status.message),
            event=self._name(status.event),
            stage=self._name(status.stage),
            level=status.level,
            progress=status.progress,
            attributes=self.attributes(_without_reserved(status.attributes)),
            bound=self.attributes(status.bound),
            flags=flags,
            run=self.run(status.run),
            attempt=status.attempt,
            sequence=status.sequence,
            timestamp=status.timestamp,
            trace_id=status.trace_id,
            span_id=status.span_id,
            sampled=status.sampled,
            origin=status.origin,
        )

    def _name(self, value: Any) -> Any:
        # Templates, stages and event names come again and again; each is
        # cleaned once. Secrets in them are counted once too.
        if value is None or len(value) > _CACHED_LENGTH:
            return None if value is None else self.line(value)
        found = self._names.get(value)
        if found is None:
            if len(self._names) >= _CACHED_NAMES:
                self._names.clear()
            found = self._names[value] = self.line(value)
        return found

    def _judge(self, status: Status) -> list[str]:
        flags = []
        if self._settings.stages and status.stage and status.stage not in self._settings.stages:
            flags.append(UNKNOWN_STAGE)
        if len(status.message) > self._settings.message_length and status.origin == "status":
            flags.append(LONG_MESSAGE)
        if len(status.attributes) > sanitize.ATTRIBUTE_LIMIT:
            flags.append(sanitize.TOO_MANY_ATTRIBUTES)
        if status.attributes.keys() & _FIXED_NAMES:
            flags.append(RESERVED_NAME)
        return flags

    def _transition(self, transition: Transition) -> Transition:
        return msgspec.structs.replace(
            transition,
            run=self.run(transition.run),
            message=self.text(transition.message),
            state_name=self.line(transition.state_name),
            error_type=None if transition.error_type is None else self.line(transition.error_type),
            bound=self.attributes(transition.bound),
        )

    def _log_line(self, line: LogLine) -> LogLine:
        return msgspec.structs.replace(
            line,
            run=self.run(line.run),
            message=self.text(line.message),
            attributes=self.attributes(line.attributes),
        )

    def _named(self, record: StageEnd | GateResult) -> StageEnd | GateResult:
        bound = self.attributes(record.bound)
        if isinstance(record, StageEnd):
            stage = self.line(record.stage)
            return msgspec.structs.replace(
                record, run=self.run(record.run), stage=stage, bound=bound
            )
        gate = self.line(record.gate)
        return msgspec.structs.replace(record, run=self.run(record.run), gate=gate, bound=bound)


def _without_reserved(values: Mapping[str, Any]) -> Mapping[str, Any]:
    # These names are ours on every signal; a user's value must not replace them.
    fixed = _FIXED_NAMES & values.keys()
    return {k: v for k, v in values.items() if k not in fixed} if fixed else values


_FIXED_NAMES = frozenset(
    attribute.name
    for attribute in (
        signals.MESSAGE,
        signals.TEMPLATE,
        signals.STAGE,
        signals.LEVEL,
        signals.PROGRESS,
        signals.SEQUENCE,
        signals.ATTEMPT,
        signals.FLAGS,
    )
)
