"""All facts of a run, sorted the same way whatever order they came in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_otel_status.bridge.project import is_final
from prefect_otel_status.bridge.records import Fact, StageFact, StateFact, StatusFact


@dataclass(frozen=True)
class Subject:
    """What is known of one run: its states, statuses and stages, in order of time."""

    id: str
    states: tuple[StateFact, ...] = ()
    statuses: tuple[StatusFact, ...] = ()
    stages: tuple[StageFact, ...] = ()

    @property
    def final(self) -> StateFact | None:
        """The latest state, if it is final."""
        return self.states[-1] if self.states and is_final(self.states[-1].type) else None

    @property
    def traceparent(self) -> str:
        """The latest span that its label named; empty without one."""
        return next((state.traceparent for state in reversed(self.states) if state.traceparent), "")

    @property
    def is_placeholder(self) -> bool:
        """Whether it is the task run that stands for a subflow."""
        return any(state.child_run_id for state in self.states)

    @property
    def last_status(self) -> StatusFact | None:
        return self.statuses[-1] if self.statuses else None

    @property
    def latest(self) -> int:
        """The time of the latest sign of life, 0 without any."""
        facts: tuple[Fact, ...] = (*self.states, *self.statuses, *self.stages)
        return max((fact.at for fact in facts), default=0)

    def open_stages(self) -> list[StageFact]:
        """The stages that were never left."""
        closed = {stage.span_id for stage in self.stages if stage.ended}
        opened = {stage.span_id: stage for stage in self.stages if not stage.ended}
        return [stage for span_id, stage in opened.items() if span_id not in closed]

    def attempts(self) -> list[tuple[int, int, StateFact]]:
        """Each execution: its start, its end, and the state that ended it."""
        found: list[tuple[int, int, StateFact]] = []
        begun: int | None = None
        for state in self.states:
            if state.type == "RUNNING" and (begun is None or state.name == "Retrying"):
                if begun is not None:
                    found.append((begun, state.at, state))
                begun = state.at
            elif begun is not None and _ends_attempt(state):
                found.append((begun, state.at, state))
                begun = None
        if begun is not None:
            found.append((begun, max(begun, self.latest), self.states[-1]))
        return found

    def missing_statuses(self) -> int:
        """How many statuses are missing by their numbers; a later process counts anew."""
        highest: dict[int, int] = {}
        numbers: dict[int, set[int]] = {}
        for status in self.statuses:
            if status.sequence:
                highest[status.attempt] = max(highest.get(status.attempt, 0), status.sequence)
                numbers.setdefault(status.attempt, set()).add(status.sequence)
        return sum(top - len(numbers[attempt]) for attempt, top in highest.items())


@dataclass(frozen=True)
class History:
    """A run's own facts, and those of its tasks by their ids."""

    own: Subject
    tasks: dict[str, Subject] = field(default_factory=dict)

    def bound(self) -> dict[str, Any]:
        """Everything that was bound in it, the latest last."""
        found: dict[str, Any] = {}
        for status in self.own.statuses:
            found.update(status.bound)
        return found

    def missing_statuses(self) -> int:
        return sum(s.missing_statuses() for s in (self.own, *self.tasks.values()))

    def last_status(self) -> StatusFact | None:
        """The last thing that the run or one of its tasks said."""
        said = [s.last_status for s in (self.own, *self.tasks.values()) if s.last_status]
        return max(said, key=lambda status: (status.at, status.message), default=None)

    def has_words(self) -> bool:
        return any(s.statuses or s.stages for s in (self.own, *self.tasks.values()))

    def latest(self) -> int:
        return max(s.latest for s in (self.own, *self.tasks.values()))


def history_of(run_id: str, facts: Iterable[tuple[str, Fact]]) -> History:
    """The history of the run RUN_ID from FACTS: pairs of subject and fact, each fact once."""
    by_subject: dict[str, list[Fact]] = {run_id: []}
    for subject_id, fact in facts:
        by_subject.setdefault(subject_id, []).append(fact)
    tasks = {
        subject_id: _subject(subject_id, found)
        for subject_id, found in sorted(by_subject.items())
        if subject_id != run_id
    }
    return History(_subject(run_id, by_subject[run_id]), tasks)


def _subject(subject_id: str, facts: Sequence[Fact]) -> Subject:
    states = [fact for fact in facts if isinstance(fact, StateFact)]
    statuses = [fact for fact in facts if isinstance(fact, StatusFact)]
    stages = [fact for fact in facts if isinstance(fact, StageFact)]
    return Subject(
        subject_id,
        tuple(sorted(states, key=lambda s: (s.at, s.id))),
        tuple(sorted(statuses, key=lambda s: (s.at, s.attempt, s.sequence, s.message))),
        tuple(sorted(stages, key=lambda s: (s.started, s.ended, s.span_id))),
    )


def _ends_attempt(state: StateFact) -> bool:
    # A pause in the same process is part of the attempt.
    return state.type != "RUNNING" and not (state.type == "PAUSED" and state.name == "Paused")
