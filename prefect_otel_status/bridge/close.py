"""The end of a run: its spans and its terminal counter steps, from all its facts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from prefect_otel_status import signals
from prefect_otel_status.bridge.history import History, Subject
from prefect_otel_status.bridge.project import environment_of
from prefect_otel_status.bridge.records import (
    SETTLED,
    TASK,
    Closed,
    RunRow,
    SpanRecord,
    StateFact,
    Step,
)
from prefect_otel_status.bridge.spans import Builder, UrlOf
from prefect_otel_status.bridge.tracing import Place, place_of, process_died
from prefect_otel_status.bridge.words import error_type_of
from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.model import ERROR_RESULTS, result_of


def close(
    row: RunRow,
    history: History,
    *,
    owner: str,
    since: int,
    environment: str,
    sampled: Callable[[int], bool],
    url_of: UrlOf,
) -> Closed:
    """Freeze the run of ROW: its spans, and the steps of its end.

    OWNER says who makes the root span, `process` or `bridge`. A run that ended
    before SINCE steps no counter. A run that was closed before gets what came
    after, linked to its first span.
    """
    own = history.own
    owner = "process" if row.kind == TASK else owner
    place = place_of(row, own.states, owner=owner, sampled=sampled, has_words=history.has_words())
    died = process_died(row, own.final)
    builder = Builder(row, history, place, url_of=url_of)
    is_later = row.closings > 0
    draw = _later if is_later else _first
    spans = draw(builder, row, history, place, died)
    counted = not is_later or bool(own.attempts())
    ended = row.state_at if own.final else max(history.latest(), row.heartbeat_at)
    steps = _steps(row, history, place, environment, builder) if counted and ended >= since else ()
    settled = msgspec.structs.replace(
        row,
        phase=SETTLED,
        closings=row.closings + 1,
        closed_state_id=row.state_id,
        bound=builder.bound,
        environment=environment_of(builder.bound, row.environment),
        trace_id=row.trace_id or hex_trace_id(place.trace_id),
        span_id=row.span_id or place.run_span_id,
        sampled=place.sampled if not is_later else row.sampled,
    )
    shown = tuple(spans) if settled.sampled else ()
    return Closed(settled, shown, tuple(steps))


def _first(
    builder: Builder, row: RunRow, history: History, place: Place, died: bool
) -> Iterator[SpanRecord]:
    """The spans that nobody else makes."""
    if place.process is None:
        yield builder.run(span_id=place.run_span_id, died=died)
        yield from builder.attempts()
    elif place.run_span_id != place.process.span_id:  # the root is the bridge's
        yield builder.run(span_id=place.run_span_id, died=died)
        if died:
            yield builder.run(
                span_id=place.process.span_id, died=True, name=f"ATTEMPT {row.attempt or 1}"
            )
    elif died:
        yield builder.run(span_id=place.process.span_id, died=True)
    yield from builder.tasks(died)
    if died:
        yield from builder.open_stages()


def _later(
    builder: Builder, row: RunRow, history: History, place: Place, died: bool
) -> Iterator[SpanRecord]:
    """What came after: drawn, unless it was an execution whose process has sent it."""
    process = place.process if history.own.attempts() else None
    if process is not None and process.span_id == row.span_id:
        process = None  # the label is still that of the first
    if history.own.states and (process is None or died):
        yield builder.later(first=row, died=died, span_id=process.span_id if process else 0)
    yield from builder.tasks(died)
    if died:
        yield from builder.open_stages()


def _steps(
    row: RunRow, history: History, place: Place, environment: str, builder: Builder
) -> Iterator[Step]:
    env = environment_of(builder.bound, environment)
    of_run = (row.flow_name, row.deployment_name, env)
    trace_id = hex_trace_id(place.trace_id) if place.sampled else ""
    if row.kind == "flow":
        yield from _run_steps(row, history, of_run, trace_id)
    for subject in history.tasks.values():
        yield from _abandoned(subject, of_run, history, row)
    if row.closings == 0 and (missing := history.missing_statuses()):
        yield Step(signals.BRIDGE_GAPS.name, (), missing, at=row.state_at)


def _run_steps(
    row: RunRow, history: History, of_run: tuple[str, str, str], trace_id: str
) -> Iterator[Step]:
    final = history.own.final
    result = result_of(final.type, final.name) if final else "error"
    end = final.at if final else max(history.latest(), row.heartbeat_at)
    error = error_type_of(final) if result in ERROR_RESULTS else ""
    if result in ERROR_RESULTS:
        yield Step(signals.RUN_ERRORS.name, (*of_run, error), 1.0, trace_id, end)
    started = _started(row, history)
    if started:
        labels = (*of_run, "executing", result or "", error)
        yield Step(signals.RUN_DURATION.name, labels, max(0, end - started) / 1e9, trace_id, end)
        if row.closings == 0 and row.seen.expected_start:
            waited = max(0, started - row.seen.expected_start) / 1e9
            yield Step(signals.QUEUE_DURATION.name, of_run, waited, trace_id, started)


def _started(row: RunRow, history: History) -> int:
    """When its first execution of these facts began; 0 for a run that never ran."""
    running = [state.at for state in history.own.states if state.type == "RUNNING"]
    return min(running, default=0 if row.closings else row.started)


def _abandoned(
    subject: Subject, of_run: tuple[str, str, str], history: History, row: RunRow
) -> Iterator[Step]:
    if subject.final or subject.is_placeholder or not subject.states:
        return
    last: StateFact = subject.states[-1]
    if result_of(last.type, last.name):
        return  # such as NotReady, which is stepped when it comes
    begun = min((s.at for s in subject.states if s.type == "RUNNING"), default=last.at)
    seconds = max(0, row.state_at - begun) / 1e9
    labels = (*of_run, last.task_name, "error")
    yield Step(signals.TASK_DURATION.name, labels, seconds, at=row.state_at)
