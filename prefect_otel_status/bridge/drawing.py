"""All spans of a run and its subflows, whoever would send them: for the eye. Pure.

What only a process knows is not here: spans of its own making. Where a task or a
subflow hangs in a stage follows from its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from prefect_otel_status import signals
from prefect_otel_status.bridge.history import History, Subject, history_of
from prefect_otel_status.bridge.project import merge
from prefect_otel_status.bridge.records import (
    Fact,
    Heartbeat,
    Observation,
    RunRow,
    Seen,
    SpanRecord,
    StageFact,
    StatusFact,
)
from prefect_otel_status.bridge.spans import Builder, UrlOf
from prefect_otel_status.bridge.tracing import Place, SpanRef, place_of, process_died

_replace = msgspec.structs.replace

_OF_AN_END = frozenset(
    attribute.name
    for attribute in (
        signals.RESULT,
        signals.TASK_RESULT,
        signals.ERROR_TYPE,
        signals.ABANDONED,
        signals.INCOMPLETE,
        signals.SILENCE,
    )
)
"""What is said of a span because it is over."""


@dataclass
class RunFacts:
    """A run's row, and its facts by subject and key."""

    row: RunRow
    facts: dict[tuple[str, str], Fact] = field(default_factory=dict)

    def history(self) -> History:
        """All facts, in order."""
        return history_of(self.row.id, [(key[0], fact) for key, fact in self.facts.items()])


def folded(observations: Iterable[Observation]) -> dict[str, RunFacts]:
    """OBSERVATIONS by run, each fact once, in whatever order they come."""
    found: dict[str, RunFacts] = {}
    for observation in observations:
        new = RunFacts(RunRow(observation.run_id, observation.kind))
        run = found.setdefault(observation.run_id, new)
        run.row = merge(run.row, observation)
        what = observation.what
        if not isinstance(what, Heartbeat | Seen):
            run.facts.setdefault((observation.subject_id, what.key), what)
    return found


def drawn(root_id: str, runs: Iterable[RunFacts], *, now: int, url_of: UrlOf) -> list[SpanRecord]:
    """The spans of the run ROOT_ID and of the other RUNS, which are below it; one trace.

    What goes on ends NOW, and has no result. Spans are in order of time.
    """
    drawings = {
        run.row.id: _Drawing(run.row, run.history(), now=now, url_of=url_of) for run in runs
    }
    trace_id = drawings[root_id].trace_id
    spans: list[SpanRecord] = []
    for run_id, drawing in drawings.items():
        above = drawings.get(drawing.parent_run_id) if run_id != root_id else None
        spans += drawing.spans(above)
    return sorted(
        (_replace(span, trace_id=trace_id) for span in spans), key=lambda s: (s.start, s.end)
    )


class _Drawing(Builder):
    """Makes the spans of one run."""

    def __init__(self, row: RunRow, history: History, *, now: int, url_of: UrlOf) -> None:
        place = _whole(row, history)
        super().__init__(row, history, place, url_of=url_of)
        self.trace_id = place.trace_id
        self.parent_run_id = row.seen.parent_run_id
        self._now = now
        self._died = process_died(row, history.own.final)
        self._goes_on = history.own.final is None and not self._died
        self._stages = _latest_of_each(history)

    def spans(self, above: _Drawing | None) -> list[SpanRecord]:
        """Its spans; the run's own hangs in the run that is drawn ABOVE, where there is one."""
        stages = [self._whole_stage(*stage) for stage in self._stages.values()]
        top = self.run(span_id=self._place.run_span_id, died=self._died)
        parent = above.base_at(top.start) if above else 0
        return [
            _replace(self._now_on(top) if self._goes_on else top, parent_span_id=parent),
            *self.attempts(),
            *(_replace(t, parent_span_id=self.base_at(t.start)) for t in self.tasks(self._died)),
            *stages,
        ]

    def base_at(self, time: int) -> int:
        """The innermost span of the run itself that was open at TIME: a stage, an attempt or it."""
        base = self._attempt_at(time)
        own = [stage for subject, stage in self._stages.values() if subject is self._history.own]
        open_then = [s for s in own if s.started <= time < (s.ended or self._until())]
        innermost = max(open_then, key=lambda stage: stage.started, default=None)
        return innermost.span_id if innermost else base

    def _attempt_at(self, time: int) -> int:
        """The span of the execution that was under way at TIME; the run's, where it has none."""
        under_way = (span for span in self.attempts() if span.start <= time <= span.end)
        return next((span.span_id for span in under_way), self._place.run_span_id)

    # --- what the bridge would leave to a process ----------------------------
    def _is_ours_to_draw(self, subject: Subject, died: bool) -> bool:
        return bool(subject.states) and not subject.is_placeholder

    def _said_on(self, span_id: int) -> list[StatusFact]:
        return self._outside_stages(self._history.own.statuses)

    def _said_in(self, subject: Subject, process: SpanRef | None) -> list[StatusFact]:
        return self._outside_stages(subject.statuses)

    def _outside_stages(self, statuses: Sequence[StatusFact]) -> list[StatusFact]:
        return [status for status in statuses if status.span_id not in self._stages]

    def _task(self, subject: Subject) -> SpanRecord:
        span = super()._task(subject)
        return self._now_on(span) if subject.final is None and self._goes_on else span

    def _whole_stage(self, subject: Subject, stage: StageFact) -> SpanRecord:
        base = self._base_of(subject, stage.started)
        known = {base, *self._stages}
        parent = stage.parent_span_id if stage.parent_span_id in known else base
        span = _replace(self._stage(subject, stage), parent_span_id=parent)
        if stage.ended:
            return _ended(span, stage)
        return self._now_on(span) if self._goes_on else span

    def _base_of(self, subject: Subject, time: int) -> int:
        if subject is self._history.own or not subject.states:
            return self._attempt_at(time)
        return self._task(subject).span_id

    def _now_on(self, span: SpanRecord) -> SpanRecord:
        """SPAN as it is NOW, since it is not over."""
        return _replace(
            span,
            end=max(span.start, self._now),
            attributes=_without(span.attributes, _OF_AN_END),
            error=None,
        )

    def _until(self) -> int:
        return self._now if self._goes_on else self._end()


def _whole(row: RunRow, history: History) -> Place:
    """Where the run is, as if nobody else sent a span of it; its span has its process's id."""
    states = history.own.states
    found = place_of(row, states, owner="process", sampled=lambda _: True, has_words=False)
    return found._replace(process=None)


def _latest_of_each(history: History) -> dict[int, tuple[Subject, StageFact]]:
    """Each stage by its span: as it closed, else as it opened."""
    subjects = (history.own, *history.tasks.values())
    stages = [(subject, stage) for subject in subjects for stage in subject.stages]
    stages.sort(key=lambda pair: bool(pair[1].ended))
    return {stage.span_id: (subject, stage) for subject, stage in stages}


def _ended(span: SpanRecord, stage: StageFact) -> SpanRecord:
    attributes = _without(span.attributes, {signals.INCOMPLETE.name})
    return _replace(
        span,
        end=max(stage.started, stage.ended),
        attributes={**attributes, signals.RESULT.name: stage.result},
        error="" if stage.result == "failure" else None,
    )


def _without(attributes: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    gone = set(names)
    return {name: value for name, value in attributes.items() if name not in gone}
