"""Statuses and their kin as counters, gauges and histograms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from prefect_otel_status import signals
from prefect_otel_status.budget import LabelBudgets
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.model import (
    ERROR_RESULTS,
    GateResult,
    Run,
    StageEnd,
    Status,
    Transition,
)
from prefect_otel_status.signals import Attribute, Metric
from prefect_otel_status.tally import Tally

Labels = tuple[tuple[str, str], ...]
"""Pairs of attribute name and value, in the metric's own order; empty values stay."""

_FIXED = frozenset(
    {
        signals.LEVEL.name,
        signals.RESULT.name,
        signals.TASK_RESULT.name,
        signals.DECISION.name,
        signals.STATE_TYPE.name,
        signals.RUN_STATE.name,
        signals.METRIC.name,
    }
)
"""Labels whose values are few by nature, and need no budget."""


class Instruments(Protocol):
    """Where numbers go: OpenTelemetry's meter, or a registry of `prometheus_client`."""

    def count(self, metric: Metric, labels: Labels, amount: int) -> None:
        """Add AMOUNT to the counter METRIC."""

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """Set the gauge METRIC to VALUE."""

    def observe(self, metric: Metric, labels: Labels, value: float, trace_id: str | None) -> None:
        """Put VALUE, in seconds, into the histogram METRIC."""

    def after_fork(self) -> None:
        """Begin anew in a child."""


class MetricSink:
    """Turns records into numbers, once per batch and series.

    Free-form labels have a budget of distinct values; what is beyond it is
    counted under `__other__`, so that totals stay exact.
    """

    def __init__(
        self,
        instruments: Instruments,
        *,
        name: str,
        tally: Tally,
        deployment_of: Callable[[Run], str],
        budget: int = 200,
        extra_labels: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._instruments = instruments
        self._tally = tally
        self._deployment_of = deployment_of
        self._budget = budget
        self._extra = tuple(signals.BOUND_NAMES.get(label, label) for label in extra_labels)
        self._budgets: dict[Metric, LabelBudgets] = {}
        self._counts: Counter[tuple[Metric, Labels]] = Counter()
        self._gauges: dict[tuple[Metric, Labels], tuple[int, float]] = {}
        self._shown: Counter[tuple[Metric, str]] = Counter()

    def accept(self, batch: Sequence[Envelope]) -> None:
        """Add BATCH to the numbers."""
        statuses: dict[Any, list[Status]] = {}
        for envelope in batch:
            record = envelope.clean()
            if isinstance(record, Status):
                statuses.setdefault(self._group_of(record), []).append(record)
            else:
                self._guard(lambda record=record: self._add(record))  # type: ignore[misc]
        for group in statuses.values():
            self._guard(lambda group=group: self._statuses(group))  # type: ignore[misc]
        self._write_gauges()
        self._write_counts()

    def add_folded(self, counts: Mapping[Any, int]) -> None:
        """Add statuses of which only the totals were kept, by run, stage, level and template."""
        for (run, stage, level, template, environment), count in counts.items():
            labels = {signals.STAGE: stage, signals.LEVEL: level}
            labels[signals.TEMPLATE] = signals.OTHER if template is None else template
            bound = {signals.ENVIRONMENT.name: environment} if environment else {}
            self._count(signals.MESSAGES, run, bound, labels, count)
        self._write_counts()

    def flush(self) -> None:
        """Show what the tally has counted since."""
        self._write_counts()

    def after_fork(self) -> None:
        """Begin anew: the parent's counts are the parent's to show."""
        self._counts.clear()
        self._gauges.clear()
        self._shown.clear()
        self._instruments.after_fork()

    def tick(self, now: int) -> int | None:
        """Nothing is ever due."""
        return None

    def _add(self, record: Any) -> None:
        if isinstance(record, Transition):
            self._transition(record)
        elif isinstance(record, StageEnd):
            self._stage(record)
        elif isinstance(record, GateResult):
            self._gate(record)

    def _group_of(self, status: Status) -> Any:
        # Within a batch most statuses are of few series: their labels are
        # found once for each, not once for each status.
        bound = tuple(
            str(status.bound.get(name)) for name in (signals.ENVIRONMENT.name, *self._extra)
        )
        return status.run, status.stage, status.level, status.name, bound

    def _statuses(self, group: Sequence[Status]) -> None:
        last = group[-1]
        labels = {
            signals.STAGE: last.stage,
            signals.LEVEL: last.level,
            signals.TEMPLATE: last.name,
        }
        self._count(signals.MESSAGES, last.run, last.bound, labels, len(group))
        if last.run is None:
            return
        self._newest(signals.LAST_MESSAGE, last, {}, last.timestamp / 1e9)
        for status in reversed(group):
            if status.progress is not None:
                stage = {signals.STAGE: status.stage}
                self._newest(signals.PROGRESS_RATIO, status, stage, status.progress)
                break

    def _newest(
        self, metric: Metric, status: Status, labels: Mapping[Attribute, Any], value: float
    ) -> None:
        """Keep VALUE for the gauge METRIC, unless a newer one of the batch is there."""
        key = metric, self._labels(metric, status.run, status.bound, labels)
        if status.timestamp >= self._gauges.get(key, (0, 0.0))[0]:
            self._gauges[key] = status.timestamp, value

    def _write_gauges(self) -> None:
        gauges, self._gauges = self._gauges, {}
        for (metric, labels), (_, value) in gauges.items():
            self._guard(lambda m=metric, k=labels, v=value: self._instruments.set(m, k, v))  # type: ignore[misc]

    def _transition(self, transition: Transition) -> None:
        if transition.run.is_task:
            self._task_transition(transition)
            return
        run, bound = transition.run, transition.bound
        state = {
            signals.STATE_TYPE: transition.state_type,
            signals.STATE_NAME: transition.state_name,
        }
        self._count(signals.TRANSITIONS, run, bound, state)
        if transition.result is None:
            return
        error = {signals.ERROR_TYPE: transition.error_type}
        if transition.result in ERROR_RESULTS:
            self._count(signals.RUN_ERRORS, run, bound, error)
        ended = {signals.RUN_STATE: "executing", signals.RESULT: transition.result, **error}
        self._observe(signals.RUN_DURATION, transition, ended)

    def _task_transition(self, transition: Transition) -> None:
        task = {signals.TASK_NAME: transition.run.task_name}
        if transition.state_type == "RUNNING" and transition.attempt > 1:
            self._count(signals.TASK_RETRIES, transition.run, transition.bound, task)
        if transition.result is not None:
            ended = {**task, signals.TASK_RESULT: transition.result}
            self._observe(signals.TASK_DURATION, transition, ended)

    def _stage(self, end: StageEnd) -> None:
        labels = {signals.STAGE: end.stage, signals.RESULT: end.result}
        key = self._labels(signals.STAGE_DURATION, end.run, end.bound, labels)
        self._instruments.observe(signals.STAGE_DURATION, key, end.duration, None)

    def _gate(self, gate: GateResult) -> None:
        name = {signals.GATE: gate.gate}
        decided = {**name, signals.DECISION: gate.decision}
        self._count(signals.GATE_RESULTS, gate.run, gate.bound, decided)
        self._set(signals.GATE_SCORE_VALUE, gate.run, gate.bound, name, gate.score)

    def _count(
        self,
        metric: Metric,
        run: Run | None,
        bound: Mapping[str, Any],
        labels: Mapping[Attribute, Any],
        amount: int = 1,
    ) -> None:
        self._counts[metric, self._labels(metric, run, bound, labels)] += amount

    def _set(
        self,
        metric: Metric,
        run: Run | None,
        bound: Mapping[str, Any],
        labels: Mapping[Attribute, Any],
        value: float,
    ) -> None:
        self._instruments.set(metric, self._labels(metric, run, bound, labels), value)

    def _observe(
        self, metric: Metric, transition: Transition, labels: Mapping[Attribute, Any]
    ) -> None:
        if transition.duration is None:
            return
        key = self._labels(metric, transition.run, transition.bound, labels)
        trace_id = hex_trace_id(transition.trace_id) if transition.sampled else None
        self._instruments.observe(metric, key, transition.duration, trace_id)

    def _labels(
        self,
        metric: Metric,
        run: Run | None,
        bound: Mapping[str, Any],
        labels: Mapping[Attribute, Any],
    ) -> Labels:
        values: dict[str, Any] = {
            signals.PIPELINE_NAME.name: run.flow_name if run else "",
            signals.DEPLOYMENT.name: self._deployment_of(run) if run else "",
            signals.ENVIRONMENT.name: bound.get(signals.ENVIRONMENT.name),
        }
        values.update((attribute.name, value) for attribute, value in labels.items())
        values.update((name, bound.get(name)) for name in self._extra)
        return tuple((name, self._admit(metric, name, value)) for name, value in values.items())

    def _admit(self, metric: Metric, name: str, value: Any) -> str:
        text = "" if value is None else str(value)
        if name in _FIXED or not text:
            return text
        budgets = self._budgets.get(metric)
        if budgets is None:
            budgets = self._budgets[metric] = LabelBudgets(
                self._budget,
                on_overflow=lambda: self._tally.add(signals.PROCESS_OVERFLOW, metric.name),
            )
        return budgets.admit(name, text)

    def _write_counts(self) -> None:
        counts, self._counts = self._counts, Counter()
        for (metric, labels), amount in counts.items():
            self._guard(lambda m=metric, k=labels, n=amount: self._instruments.count(m, k, n))  # type: ignore[misc]
        self._write_tally()

    def _guard(self, call: Callable[[], None]) -> None:
        """CALL; one series that is refused must not keep the others back."""
        try:
            call()
        except Exception as error:
            self._tally.failed(self.name, error)

    def _write_tally(self) -> None:
        for (metric, label), total in self._tally.read().items():
            new = total - self._shown[metric, label]
            if new > 0:
                self._shown[metric, label] = total
                self._instruments.count(metric, ((metric.labels[0].name, label),), new)
