"""The counters and histograms of the bridge, and what of them a scrape may show.

Prometheus' `increase()` does not see the first sample of a series, and a
counter that falls is read as a reset. So each series has a true value and a
shown one. The shown value stays at its old number until a scrape has surely
seen that, and it is written down before a scrape may show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import series_rows
from prefect_otel_status.bridge.exposition import Family
from prefect_otel_status.bridge.folding import Folding, KnownValues, Labels
from prefect_otel_status.bridge.holding import Holding
from prefect_otel_status.bridge.records import Step
from prefect_otel_status.bridge.staging import Key, Staging, metrics_by_name
from prefect_otel_status.bridge.values import Exemplars, Series, zero
from prefect_otel_status.signals import Kind, Metric

FROM_THE_START: tuple[tuple[Metric, Labels], ...] = (
    *((signals.BRIDGE_EVENTS, (path,)) for path in ("websocket", "sweep", "reconcile")),
    (signals.BRIDGE_MISSED, ()),
    (signals.BRIDGE_GAPS, ()),
    (signals.BRIDGE_SPANS, ()),
    *(
        (signals.BRIDGE_EXPORTS, (outcome,))
        for outcome in ("delivered", "partial", "retried", "set_aside")
    ),
    (signals.BRIDGE_HISTORY_GAP, ()),
)
"""The bridge's own series whose labels are known beforehand."""


@dataclass(frozen=True)
class Changes:
    """What a transaction does to the series; nothing of it shows before it is adopted."""

    base: int
    rows: Mapping[Key, Series] = field(default_factory=dict)
    released: tuple[Key, ...] = ()
    forgotten: tuple[Key, ...] = ()
    exemplars: Mapping[Key, Exemplars] = field(default_factory=dict)

    @property
    def to_write(self) -> bool:
        """Whether the store has to learn anything."""
        return bool(self.rows or self.forgotten)


class SeriesTable:
    """All series, in memory as in the store. Only one bridge writes them: the lease's holder.

    `stage`, `due_releases` and `forget` say what would change; `write` puts that
    into the store, and `adopt`, after the commit, into memory. From the first to
    the last of them no other changes may come between: hold a lock. Where a
    commit may or may not have happened, `load` again.

    `now` is nanoseconds. `note_scrape` and `due_releases` must use the same
    clock; one that never goes back is best.
    """

    def __init__(self, *, scrape_interval: float = 15.0, label_budget: int = 200) -> None:
        self._period = round(2 * scrape_interval * 1e9)
        self._budget = label_budget
        self._declared: dict[Key, Metric] = {}
        self._version = 0
        self._begin()

    def _begin(self) -> None:
        self._series: dict[str, dict[Labels, Series]] = {}
        self._unsorted: set[str] = set()
        self._holding: Holding[Key] = Holding(self._period)
        self._known = KnownValues(self._budget)
        self._exemplars: dict[str, dict[Labels, Exemplars]] = {}

    def load(self, conn: Connection) -> None:
        """Take over what the store has. Every series is held at the value it showed last."""
        stored = list(series_rows.read(conn))
        self._begin()
        self._version += 1
        for key, series in stored:
            self._add(key, series)
        self._restore_declared()

    def declare(self, series: Iterable[tuple[Metric, Labels]]) -> None:
        """Let these exist at 0 from the start, now and after each `load`; known ones stay."""
        self._declared.update({(metric.name, labels): metric for metric, labels in series})
        self._restore_declared()

    def _restore_declared(self) -> None:
        for (name, labels), metric in self._declared.items():
            if labels not in self._series.get(name, {}):
                self._add((name, labels), Series(zero(metric), zero(metric)))

    def stage(self, steps: Sequence[Step], *, now: int) -> Changes:
        """What STEPS would change. Raises `ValueError` for a metric or labels unknown to us."""
        staging = Staging(self, now)
        for step in steps:
            staging.step(step)
        return Changes(self._version, rows=staging.rows, exemplars=staging.exemplars)

    def due_releases(self, now: int) -> Changes:
        """What was held long enough, and may follow its true value once that is written."""
        due = self._holding.due(now)
        found = {key: self._series[key[0]][key[1]] for key in due}
        rows = {
            key: Series(series.value, series.value, series.stepped)
            for key, series in found.items()
            if series.value != series.shown
        }
        return Changes(self._version, rows=rows, released=tuple(due))

    def forget(self, flow: str, deployment: str) -> Changes:
        """What it would change to drop the series of DEPLOYMENT of FLOW."""
        gone = [
            (name, labels)
            for name, series in self._series.items()
            if metrics_by_name()[name].labels[:2] == (signals.PIPELINE_NAME, signals.DEPLOYMENT)
            for labels in series
            if labels[:2] == (flow, deployment)
        ]
        return Changes(self._version, forgotten=tuple(gone))

    def write(self, conn: Connection, changes: Changes) -> None:
        """Put CHANGES into the store, within the transaction of CONN."""
        self._check(changes)
        if changes.forgotten:
            series_rows.remove(conn, changes.forgotten)
        if changes.rows:
            series_rows.upsert(conn, changes.rows)

    def adopt(self, changes: Changes) -> None:
        """Make CHANGES what a scrape sees. Only after their transaction was committed."""
        self._check(changes)
        self._version += 1
        for key, series in changes.rows.items():
            self._set(key, series)
        for name, labels in changes.forgotten:
            self._drop(name, labels)
        for key in changes.released:
            self._holding.release(key)
        for (name, labels), exemplars in changes.exemplars.items():
            self._exemplars.setdefault(name, {})[labels] = exemplars

    def note_scrape(self, now: int) -> None:
        """A scrape has shown all series. Call it when one was answered."""
        self._holding.note_scrape(now)

    def families(self) -> list[Family]:
        """What a scrape may see, in the order of `signals`, with the label values in order."""
        for name in self._unsorted:
            self._series[name] = dict(sorted(self._series[name].items()))
        self._unsorted.clear()
        return [
            Family(
                metric,
                [(labels, series.shown) for labels, series in self._series[name].items()],
                self._exemplars.get(name, {}),
            )
            for name, metric in metrics_by_name().items()
            if self._series.get(name)
        ]

    def find(self, key: Key) -> Series | None:
        """The series KEY, if it exists."""
        return self._series.get(key[0], {}).get(key[1])

    def exemplars_of(self, key: Key) -> Exemplars | None:
        """The exemplars of the series KEY, if it has any."""
        return self._exemplars.get(key[0], {}).get(key[1])

    def is_held(self, key: Key) -> bool:
        """Whether KEY does not follow its true value yet."""
        return key in self._holding

    def folding(self) -> Folding:
        """Names for series to come, within the budget."""
        return Folding(self._known)

    def _check(self, changes: Changes) -> None:
        if changes.base != self._version:
            raise RuntimeError(
                "the series have changed since these changes were staged: "
                "stage, write and adopt under one lock"
            )

    def _set(self, key: Key, series: Series) -> None:
        if self.find(key) is None:
            self._add(key, series)
        else:
            self._series[key[0]][key[1]] = series

    def _add(self, key: Key, series: Series) -> None:
        name, labels = key
        metric = metrics_by_name()[name]
        self._series.setdefault(name, {})[labels] = series
        self._unsorted.add(name)
        self._known.add(metric, labels)
        if metric.kind is not Kind.GAUGE:
            self._holding.hold(key)

    def _drop(self, name: str, labels: Labels) -> None:
        if self._series.get(name, {}).pop(labels, None) is None:
            return
        self._known.remove(metrics_by_name()[name], labels)
        self._holding.release((name, labels))
        self._exemplars.get(name, {}).pop(labels, None)
