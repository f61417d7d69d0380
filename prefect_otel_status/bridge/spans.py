"""The spans that the bridge makes of a run's history. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prefect_otel_status import signals
from prefect_otel_status.bridge.history import History, Subject
from prefect_otel_status.bridge.records import (
    RunRow,
    SpanEvent,
    SpanLink,
    SpanRecord,
    StageFact,
    StateFact,
    StatusFact,
)
from prefect_otel_status.bridge.tracing import Place, SpanRef, derived_span_id, read_traceparent
from prefect_otel_status.bridge.words import error_type_of, error_words
from prefect_otel_status.model import ERROR_RESULTS, result_of

EVENT_LIMIT = 128
"""Events of a span, as the SDK has it. The first, the last and the errors are kept."""

UrlOf = Callable[[str, str], str | None]
"""The address of a run in Prefect's UI, by its kind and id."""


class Builder:
    """Makes the spans of one run, placed by PLACE."""

    def __init__(self, row: RunRow, history: History, place: Place, *, url_of: UrlOf) -> None:
        self._row = row
        self._history = history
        self._place = place
        self._url_of = url_of
        self.bound = {**row.seen.bound, **history.bound()}

    def run(self, *, span_id: int, died: bool, name: str | None = None) -> SpanRecord:
        """The span of the run: from its first process, or what it was submitted to, to its end."""
        row, own = self._row, self._history.own
        is_task = row.kind == "task"
        first, last = self._times(own, died)
        final = own.final
        return SpanRecord(
            name=name or _name(row, own),
            kind="INTERNAL" if is_task or name else "SERVER",
            trace_id=self._place.trace_id,
            span_id=span_id,
            parent_span_id=self._parent_of(span_id),
            start=first,
            end=last,
            attributes={**self._run_attributes(final, died), **self._last_words(last, died)},
            events=events_of(own.states, self._said_on(span_id)),
            error=self._error(final, died),
            terminal=True,
        )

    def attempts(self) -> list[SpanRecord]:
        """A span for each execution, where there was more than one."""
        attempts = self._history.own.attempts()
        if len(attempts) < 2:
            return []
        return [self._attempt(number, *attempt) for number, attempt in enumerate(attempts, start=1)]

    def tasks(self, died: bool) -> list[SpanRecord]:
        """The spans of the task runs that no process sent."""
        subjects = self._history.tasks.values()
        return [self._task(s) for s in subjects if self._is_ours_to_draw(s, died)]

    def open_stages(self) -> list[SpanRecord]:
        """The spans of stages that a process left open when it died."""
        subjects = (self._history.own, *self._history.tasks.values())
        return [
            self._stage(subject, stage) for subject in subjects for stage in subject.open_stages()
        ]

    def later(self, *, first: RunRow, died: bool, span_id: int = 0) -> SpanRecord:
        """What came after the run's span was frozen: another execution, or a mere correction.

        SPAN_ID is that of its process, where it has one.
        """
        own = self._history.own
        executions = own.attempts()
        start = (
            executions[0][0] if executions else own.states[0].at if own.states else first.state_at
        )
        end = max(start, own.latest, self._end())
        number = first.attempt or first.closings + 1
        name = f"ATTEMPT {number}" if executions else signals.CORRECTION_SPAN.name
        link = SpanLink(int(first.trace_id, 16), first.span_id)
        return SpanRecord(
            name=name,
            kind="INTERNAL",
            trace_id=int(first.trace_id, 16),
            span_id=span_id or derived_span_id("LATER", first.id, first.closings),
            parent_span_id=first.span_id,
            start=start,
            end=end,
            attributes={**self._run_attributes(own.final, died), **self._last_words(end, died)},
            events=events_of(own.states, own.statuses),
            links=(link,),
            error=self._error(own.final, died),
            terminal=True,
        )

    # --- parts -------------------------------------------------------------
    def _parent_of(self, span_id: int) -> int:
        """Below the parent's run; the span of a dead process is below our own of the run."""
        is_process = self._place.process is not None and span_id == self._place.process.span_id
        if is_process and span_id != self._place.run_span_id:
            return self._place.run_span_id
        return self._place.parent_span_id

    def _times(self, own: Subject, died: bool) -> tuple[int, int]:
        begun = [s.at for s in own.states if s.type in ("PENDING", "RUNNING")]
        last = own.states[-1].at if own.states else self._row.state_at
        if self._row.inferred:
            last = max(self._history.latest(), self._row.heartbeat_at)
        first = min(begun, default=self._row.seen.started or last)
        return first, max(first, last)

    def _run_attributes(self, final: StateFact | None, died: bool) -> dict[str, Any]:
        row = self._row
        found: dict[str, Any] = {**self.bound, **self._identity()}
        state = final or (self._history.own.states[-1] if self._history.own.states else None)
        if state is not None:
            found |= _state_attributes(state)
        result = _result(final, died)
        if result:
            name = signals.TASK_RESULT if row.kind == "task" else signals.RESULT
            found[name.name] = result
        if result in ERROR_RESULTS:
            found[signals.ERROR_TYPE.name] = error_type_of(final)
        if row.attempt:
            found[signals.ATTEMPT.name] = row.attempt
        if row.seen.expected_start and row.seen.started > row.seen.expected_start:
            waited = (row.seen.started - row.seen.expected_start) / 1e9
            found[signals.QUEUE_SECONDS.name] = round(waited, 6)
        return found

    def _identity(self) -> dict[str, Any]:
        row = self._row
        if row.kind == "task":
            return self._task_identity(self._history.own)
        return present(
            {
                signals.PIPELINE_NAME.name: row.flow_name,
                signals.RUN_ID.name: row.id,
                signals.RUN_URL.name: self._url_of("flow", row.id),
                signals.DEPLOYMENT.name: row.deployment_name,
                signals.PREFECT_RUN_ID.name: row.id,
                signals.PREFECT_RUN_NAME.name: row.run_name,
                signals.PREFECT_RUN_TYPE.name: "flow",
                signals.WORK_POOL.name: row.seen.work_pool,
            }
        )

    def _task_identity(self, subject: Subject) -> dict[str, Any]:
        row = self._row
        state = subject.states[-1] if subject.states else None
        return present(
            {
                signals.PIPELINE_NAME.name: row.flow_name,
                signals.RUN_ID.name: row.id if row.kind == "flow" else None,
                signals.TASK_NAME.name: state.task_name if state else None,
                signals.TASK_RUN_ID.name: subject.id,
                signals.TASK_RUN_URL.name: self._url_of("task", subject.id),
                signals.PREFECT_RUN_ID.name: subject.id,
                signals.PREFECT_RUN_NAME.name: state.run_name if state else None,
                signals.PREFECT_RUN_TYPE.name: "task",
            }
        )

    def _last_words(self, end: int, died: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        said = self._history.last_status()
        if said is not None:
            found |= present({signals.MESSAGE.name: said.message, signals.STAGE.name: said.stage})
            if said.progress is not None:
                found[signals.PROGRESS.name] = said.progress
        if died:
            found[signals.INCOMPLETE.name] = True
            if said is not None:
                found[signals.SILENCE.name] = round(max(0, end - said.at) / 1e9, 6)
        if self._row.inferred:
            found[signals.INFERRED.name] = True
        return found

    def _error(self, final: StateFact | None, died: bool) -> str | None:
        if _result(final, died) not in ERROR_RESULTS:
            return None
        if self._row.inferred:
            return "No heartbeat any more, and nobody reported the end."
        return error_words(final)

    def _said_on(self, span_id: int) -> list[StatusFact]:
        """The run's statuses that belong on this span: its own, and those on no other."""
        process = self._place.process
        if process is None:
            return list(self._history.own.statuses)
        if span_id != process.span_id:
            return []  # its process has them on its own span
        return [s for s in self._history.own.statuses if s.span_id in (0, process.span_id)]

    def _attempt(self, number: int, start: int, end: int, state: StateFact) -> SpanRecord:
        # What waits to be retried has failed; what is suspended has not.
        is_retry = state.name in ("Retrying", "AwaitingRetry")
        result = "failure" if is_retry else result_of(state.type, state.name)
        return SpanRecord(
            name=f"ATTEMPT {number}",
            kind="INTERNAL",
            trace_id=self._place.trace_id,
            span_id=derived_span_id("ATTEMPT", self._row.id, number),
            parent_span_id=self._place.run_span_id,
            start=start,
            end=max(start, end),
            attributes={
                **self._identity(),
                **_state_attributes(state),
                **present({signals.RESULT.name: result}),
                signals.ATTEMPT.name: number,
            },
            error=error_words(state) if result in ERROR_RESULTS else None,
        )

    def _is_ours_to_draw(self, subject: Subject, died: bool) -> bool:
        if subject.is_placeholder or not subject.states:
            return False
        if not subject.traceparent:
            return True
        if subject.final is None:  # left running: a process of ours that lives on closes it
            return died or not self._place.is_ours
        never_ended = subject.final.name in ("TimedOut", "NotReady")
        return never_ended and not self._place.is_ours

    def _task(self, subject: Subject) -> SpanRecord:
        process = read_traceparent(subject.traceparent)
        final, last = subject.final, subject.states[-1]
        first = min((s.at for s in subject.states if s.type == "RUNNING"), default=last.at)
        end = max(first, final.at if final else self._end())
        result = result_of(final.type, final.name) if final else "error"
        if final is None and last.name == "NotReady":
            result = "skip"
        abandoned = result == "error" and final is None
        attributes = {
            **self.bound,
            **self._task_identity(subject),
            **_state_attributes(last),
            **present({signals.TASK_RESULT.name: result}),
        }
        if result in ERROR_RESULTS:
            attributes[signals.ERROR_TYPE.name] = "abandoned" if abandoned else error_type_of(final)
        if abandoned:
            attributes |= {signals.ABANDONED.name: True, signals.INCOMPLETE.name: True}
        words = "Left running when its flow run ended." if abandoned else error_words(final)
        trace_id = process.trace_id if process else self._place.trace_id
        span_id = process.span_id if process else derived_span_id("TASK", subject.id)
        links: tuple[SpanLink, ...] = ()
        if self._was_drawn(subject):
            links = (SpanLink(trace_id, span_id),)
            span_id = derived_span_id("LATER", subject.id, self._row.closings)
        return SpanRecord(
            name=last.task_name or "task",
            kind="INTERNAL",
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=self._place.base,
            start=first,
            end=end,
            attributes=attributes,
            events=events_of(subject.states, self._said_in(subject, process)),
            links=links,
            error=words if result in ERROR_RESULTS else None,
        )

    def _said_in(self, subject: Subject, process: SpanRef | None) -> list[StatusFact]:
        """The statuses of the task run SUBJECT that belong on its span, which PROCESS names."""
        if process is None:
            return list(subject.statuses)
        return [status for status in subject.statuses if status.span_id in (0, process.span_id)]

    def _was_drawn(self, subject: Subject) -> bool:
        """Whether the beginning of SUBJECT went into a span that is frozen."""
        begins = subject.states[0].type in ("SCHEDULED", "PENDING")
        return self._row.closings > 0 and not begins

    def _end(self) -> int:
        """When the run ended, as far as can be known."""
        if self._row.inferred:
            return max(self._history.latest(), self._row.heartbeat_at)
        return self._row.state_at

    def _stage(self, subject: Subject, stage: StageFact) -> SpanRecord:
        said = [status for status in subject.statuses if status.span_id == stage.span_id]
        is_task = subject.id != self._row.id
        identity = self._task_identity(subject) if is_task else self._identity()
        return SpanRecord(
            name=stage.name,
            kind="INTERNAL",
            trace_id=self._place.trace_id,
            span_id=stage.span_id,
            parent_span_id=stage.parent_span_id or self._place.base,
            start=stage.started,
            end=max(stage.started, self._end()),
            attributes={
                **self.bound,
                **stage.bound,
                **identity,
                signals.STAGE.name: stage.name,
                signals.RESULT.name: "error",
                signals.INCOMPLETE.name: True,
            },
            events=events_of((), said),
            error="Left open when the process died.",
        )


def _name(row: RunRow, own: Subject) -> str:
    if row.kind == "task":
        return (own.states[-1].task_name if own.states else "") or "task"
    return f"RUN {row.flow_name}".rstrip()


def _result(final: StateFact | None, died: bool) -> str | None:
    if final is not None:
        return result_of(final.type, final.name)
    return "error" if died else None


def present(values: dict[str, Any]) -> dict[str, Any]:
    """VALUES without those that say nothing."""
    return {name: value for name, value in values.items() if value not in (None, "")}


def _state_attributes(state: StateFact) -> dict[str, Any]:
    return present(
        {
            signals.STATE_TYPE.name: state.type,
            signals.STATE_NAME.name: state.name,
            signals.STATE_MESSAGE.name: state.message,
        }
    )


def events_of(states: Iterable[StateFact], statuses: Iterable[StatusFact]) -> tuple[SpanEvent, ...]:
    """STATES and STATUSES as the events of a span, by time, within its limit."""
    found = [_state_event(state) for state in states]
    found += [status_event(status) for status in statuses]
    found.sort(key=lambda event: (event.at, event.name))
    return tuple(_within_limit(found))


def _within_limit(events: list[SpanEvent]) -> list[SpanEvent]:
    if len(events) <= EVENT_LIMIT:
        return events
    half = EVENT_LIMIT // 2
    return [*events[:half], *events[-half:]]


def _state_event(state: StateFact) -> SpanEvent:
    attributes = {**_state_attributes(state), signals.STATE_ID.name: state.id}
    return SpanEvent(state.name, state.at, attributes)


def status_event(status: StatusFact) -> SpanEvent:
    """STATUS as an event of a span, as its own process would have written it."""
    attributes = {
        **status.attributes,
        signals.MESSAGE.name: status.message,
        signals.TEMPLATE.name: status.template,
        signals.LEVEL.name: status.level,
        **present({signals.STAGE.name: status.stage, signals.PROGRESS.name: status.progress}),
        signals.SEQUENCE.name: status.sequence,
        signals.ATTEMPT.name: status.attempt,
    }
    if status.flags:
        attributes[signals.FLAGS.name] = status.flags
    return SpanEvent(status.label, status.at, attributes)
