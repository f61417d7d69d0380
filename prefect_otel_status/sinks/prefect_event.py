"""Statuses as Prefect events: the durable copy, numbered, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import msgspec

from prefect_otel_status import signals
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.ids import hex_span_id, hex_trace_id
from prefect_otel_status.model import Run, StageEnd, StageStart, Status
from prefect_otel_status.sanitize import json_value

PAYLOAD_VERSION = 1
SIZE_LIMIT = 120_000
"""Bytes of an event's statuses, and of its stages: together below 256 kB, which is safe. A stock
subscriber is cut off above 1 MiB."""

_VALUES_LIMIT = 50_000
"""Bytes of one status's attributes in an event."""

CUT = "cut_attributes"

_NANOSECONDS = 1_000_000_000

Emit = Callable[[Run, dict[str, Any]], None]


@dataclass
class _Pending:
    """What one run said since its last event, and when the next may go."""

    run: Run
    context: Context
    payloads: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    due: int = 0


class PrefectEventSink:
    """Sends what each run says as events of Prefect.

    The first status of a run goes at once, errors go at once, the rest at most
    one event per run and INTERVAL seconds, and all at the run's end. Outside a
    run there is nothing that an event could belong to.
    """

    name = "prefect_event"

    def __init__(self, *, interval: float = 1.0, emit: Emit | None = None) -> None:
        self._interval = int(interval * _NANOSECONDS)
        self._emit = emit or emit_to_prefect
        self._pending: dict[str, _Pending] = {}

    def accept(self, batch: Sequence[Envelope]) -> None:
        """Hold BATCH back, and send the errors with all that their runs said before."""
        for envelope in batch:
            record = envelope.clean()
            if not isinstance(record, Status | StageStart | StageEnd):
                continue
            if record.run is None or envelope.context is None:
                continue
            pending = self._hold(record.run, envelope.context)
            if isinstance(record, Status):
                pending.payloads.append(to_payload(record))
                pending.due = 0 if record.is_error else pending.due
            elif record.span_id:
                pending.stages.append(stage_payload(record))

    def flush(self) -> None:
        """Send everything."""
        pending, self._pending = self._pending, {}
        self._send_all(list(pending.values()))

    def after_fork(self) -> None:
        """Forget the parent's statuses."""
        self._pending.clear()

    def tick(self, now: int) -> int | None:
        """Send what is due at NOW; forget runs that were silent for an interval."""
        due = [pending for pending in self._pending.values() if pending.due <= now]
        for pending in due:
            if not pending.payloads and not pending.stages:
                del self._pending[pending.run.id]
            pending.due = now + self._interval
        self._send_all(due)
        return min((pending.due for pending in self._pending.values()), default=None)

    def _send_all(self, pending: Sequence[_Pending]) -> None:
        """Send each run's; one that fails does not keep the others back."""
        errors = []
        for each in pending:
            try:
                self._send(each)
            except Exception as error:  # noqa: PERF203  (one run's failure is its own)
                errors.append(error)
        if errors:
            raise errors[0]

    def _hold(self, run: Run, context: Context) -> _Pending:
        pending = self._pending.get(run.id)
        if pending is None:
            pending = self._pending[run.id] = _Pending(run, context)
        pending.run, pending.context = run, context
        return pending

    def _send(self, pending: _Pending) -> None:
        payloads, pending.payloads = pending.payloads, []
        stages, pending.stages = pending.stages, []
        told = zip_longest(_chunks(payloads), _chunks(stages), fillvalue=())
        for statuses, of_stages in told:
            body: dict[str, Any] = {"version": PAYLOAD_VERSION, "statuses": list(statuses)}
            if of_stages:
                body["stages"] = list(of_stages)
            # A copy, because a context can be entered by one thread at a time.
            pending.context.copy().run(self._emit, pending.run, body)


def to_payload(status: Status) -> dict[str, Any]:
    """STATUS as JSON can hold it; times in nanoseconds since 1970, ids in hexadecimal."""
    payload: dict[str, Any] = {
        "template": status.template,
        "message": status.message,
        "level": status.level,
        "attempt": status.attempt,
        "sequence": status.sequence,
        "timestamp": status.timestamp,
    }
    if status.trace_id:
        payload["trace_id"] = hex_trace_id(status.trace_id)
        payload["span_id"] = hex_span_id(status.span_id)
    for name in ("event", "stage", "progress"):
        if (value := getattr(status, name)) is not None:
            payload[name] = json_value(value)
    flags = list(status.flags)
    for name in ("attributes", "bound"):
        if values := getattr(status, name):
            kept = {key: json_value(value) for key, value in values.items()}
            payload[name], is_cut = _within(kept, _VALUES_LIMIT)
            flags += [CUT] if is_cut else []
    if flags:
        payload["flags"] = flags
    return payload


def stage_payload(stage: StageStart | StageEnd) -> dict[str, Any]:
    """The opening or the end of a STAGE, as JSON can hold it."""
    payload: dict[str, Any] = {
        "name": stage.stage,
        "span_id": hex_span_id(stage.span_id),
        "started": stage.started,
    }
    if stage.parent_span_id:
        payload["parent_span_id"] = hex_span_id(stage.parent_span_id)
    if isinstance(stage, StageEnd):
        payload |= {"ended": stage.ended, "result": stage.result}
        if stage.bound:
            kept = {name: json_value(value) for name, value in stage.bound.items()}
            payload["bound"], _ = _within(kept, _VALUES_LIMIT)
    return payload


def _within(values: dict[str, Any], limit: int) -> tuple[dict[str, Any], bool]:
    """VALUES, less the largest of them where all together have more than LIMIT bytes."""
    sizes = {name: len(msgspec.json.encode(value)) for name, value in values.items()}
    total = sum(sizes.values())
    kept = dict(values)
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if total <= limit:
            break
        total -= sizes[name]
        del kept[name]
    return kept, len(kept) < len(values)


def _chunks(payloads: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for payload in payloads:
        length = len(msgspec.json.encode(payload))
        if chunk and size + length > SIZE_LIMIT:
            yield chunk
            chunk, size = [], 0
        chunk.append(payload)
        size += length
    if chunk:
        yield chunk


def emit_to_prefect(run: Run, payload: dict[str, Any]) -> None:
    """Queue one event about RUN in Prefect's own worker, which sends it."""
    from prefect.events import emit_event

    resource = {
        "prefect.resource.id": f"prefect.{run.kind}-run.{run.id}",
        "prefect.resource.name": run.name or run.id,
    }
    emit_event(signals.PREFECT_EVENT, resource=resource, payload=payload)
