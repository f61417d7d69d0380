"""The counters of the bridge: exact, never falling, and shown at 0 before they rise."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Engine

from prefect_otel_status import signals
from prefect_otel_status.bridge import series_rows
from prefect_otel_status.bridge.records import Step
from prefect_otel_status.bridge.series import FROM_THE_START, Changes, SeriesTable
from prefect_otel_status.bridge.tables import metadata, series
from prefect_otel_status.bridge.values import Buckets, Exemplar, Value, encode
from prefect_otel_status.signals import OTHER, Metric

SECOND = 10**9
OF_RUN = ("deploy", "prod", "live")
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Kept:
    """A table of series above a store, as the bridge has it; `restart` is a new process."""

    def __init__(self, *, label_budget: int = 200, engine: Engine | None = None) -> None:
        self.engine = engine or create_engine("sqlite://")
        metadata.create_all(self.engine)
        self.table = SeriesTable(scrape_interval=15.0, label_budget=label_budget)
        with self.engine.connect() as conn:
            self.table.load(conn)

    def restart(self, *, label_budget: int = 200) -> Kept:
        return Kept(label_budget=label_budget, engine=self.engine)

    def commit(self, changes: Changes) -> None:
        with self.engine.begin() as conn:
            self.table.write(conn, changes)
        self.table.adopt(changes)

    def step(self, *steps: Step, now: int = 0) -> None:
        self.commit(self.table.stage(steps, now=now))

    def release(self, now: int) -> None:
        self.commit(self.table.due_releases(now))

    def scraped(self, now: int) -> None:
        """A scrape at NOW, and what is released two intervals later."""
        self.table.note_scrape(now)
        self.release(now + 30 * SECOND)

    @property
    def shown(self) -> dict[tuple[str, tuple[str, ...]], Value]:
        """What a scrape shows."""
        return {
            (family.metric.name, labels): value
            for family in self.table.families()
            for labels, value in family.samples
        }

    @property
    def stored(self) -> list[Any]:
        with self.engine.connect() as conn:
            return [tuple(row) for row in conn.execute(select(series).order_by(series.c.labels))]


def error(kind: str = "ValueError", *, count: float = 1.0, trace_id: str = "") -> Step:
    return Step(signals.RUN_ERRORS.name, (*OF_RUN, kind), count, trace_id, 5 * SECOND)


ERRORS = (signals.RUN_ERRORS.name, (*OF_RUN, "ValueError"))


def test_a_new_series_shows_0_until_a_scrape_has_surely_seen_it() -> None:
    kept = Kept()
    kept.step(error(), error(count=2))
    assert kept.shown == {ERRORS: 0.0}
    kept.release(10**15)  # however long it takes, no scrape has shown it
    assert kept.shown == {ERRORS: 0.0}
    kept.table.note_scrape(100 * SECOND)
    kept.release(130 * SECOND - 1)
    assert kept.shown == {ERRORS: 0.0}
    kept.release(130 * SECOND)
    assert kept.shown == {ERRORS: 3.0}


def test_a_released_series_shows_each_step_at_once() -> None:
    kept = Kept()
    kept.step(error())
    kept.scraped(0)
    kept.step(error(count=4), now=7)
    assert kept.shown == {ERRORS: 5.0}
    assert kept.stored == [(ERRORS[0], '["deploy","prod","live","ValueError"]', b"5.0", b"5.0", 7)]


def test_a_held_series_counts_on_in_the_store() -> None:
    kept = Kept()
    kept.step(error(), now=3)
    kept.step(error(), now=4)
    assert kept.stored == [(ERRORS[0], '["deploy","prod","live","ValueError"]', b"2.0", b"0.0", 4)]


def test_after_a_restart_what_was_shown_is_shown_again_before_it_rises() -> None:
    kept = Kept()
    kept.step(error(count=3))
    kept.scraped(0)
    again = kept.restart()
    again.step(error(count=2))
    assert again.shown == {ERRORS: 3.0}
    again.scraped(0)
    assert again.shown == {ERRORS: 5.0}
    assert again.restart().shown == {ERRORS: 5.0}


def test_a_kill_before_the_release_is_written_shows_the_old_value_again() -> None:
    kept = Kept()
    kept.step(error(count=3))
    kept.table.note_scrape(0)
    kept.table.due_releases(10**12)  # and then kill -9
    assert kept.shown == {ERRORS: 0.0}
    assert kept.restart().shown == {ERRORS: 0.0}


def test_a_kill_after_the_release_is_written_cannot_make_it_fall() -> None:
    kept = Kept()
    kept.step(error(count=3))
    kept.table.note_scrape(0)
    changes = kept.table.due_releases(10**12)
    with kept.engine.begin() as conn:
        kept.table.write(conn, changes)
    assert kept.shown == {ERRORS: 0.0}  # no scrape sees what is not adopted
    assert kept.restart().shown == {ERRORS: 3.0}


def test_a_transaction_that_fails_leaves_all_as_it_was() -> None:
    kept = Kept()
    kept.step(error())
    kept.scraped(0)
    before = kept.stored
    changes = kept.table.stage([error(count=5, trace_id=TRACE), error("KeyError")], now=9)
    with kept.engine.connect() as conn:
        kept.table.write(conn, changes)
        conn.rollback()
    assert (kept.shown, kept.stored) == ({ERRORS: 1.0}, before)
    assert kept.table.exemplars_of(ERRORS) is None
    kept.step(error())
    assert kept.shown == {ERRORS: 2.0}


def test_a_failed_transaction_spends_no_budget() -> None:
    kept = Kept(label_budget=1)
    kept.table.stage([error("KeyError")], now=0)
    kept.step(error("ValueError"))
    assert list(kept.shown) == [ERRORS]


def test_changes_that_came_between_are_refused() -> None:
    kept = Kept()
    one, other = (kept.table.stage([error()], now=0) for _ in range(2))
    kept.commit(one)
    with pytest.raises(RuntimeError, match="under one lock"), kept.engine.begin() as conn:
        kept.table.write(conn, other)
    with pytest.raises(RuntimeError, match="under one lock"):
        kept.table.adopt(other)
    assert kept.table.find(ERRORS).value == 1.0  # type: ignore[union-attr] # it is there


def test_a_histogram_is_held_as_a_whole() -> None:
    kept = Kept()
    key = (signals.QUEUE_DURATION.name, OF_RUN)
    kept.step(Step(*key, 0.3), Step(*key, 100000.0), Step(*key, -4.0))
    assert kept.shown == {key: Buckets()}
    kept.scraped(0)
    seen = Buckets().seeing(0.3).seeing(100000.0).seeing(0.0)
    assert kept.shown == {key: seen}
    assert kept.restart().shown == {key: seen}


def test_a_gauge_shows_its_newest_reading_at_once() -> None:
    kept = Kept()
    key = (signals.GATE_SCORE_VALUE.name, (*OF_RUN, "accuracy"))
    kept.step(Step(*key, 0.9, at=20), Step(*key, 0.5, at=10))
    assert kept.shown == {key: 0.9}
    kept.step(Step(*key, -1, at=30))
    again = kept.restart()
    assert again.shown == {key: -1.0}
    again.step(Step(*key, 0.7, at=29))
    assert again.shown == {key: -1.0}


def test_values_beyond_the_budget_are_folded_and_counted() -> None:
    kept = Kept(label_budget=2)
    kept.step(*(error(kind) for kind in ("A", "B", "C", "A", "D", "C")))
    kept.scraped(0)
    assert kept.shown == {
        (signals.RUN_ERRORS.name, (*OF_RUN, "A")): 2.0,
        (signals.RUN_ERRORS.name, (*OF_RUN, "B")): 1.0,
        (signals.RUN_ERRORS.name, (*OF_RUN, OTHER)): 3.0,
        (signals.BRIDGE_OVERFLOW.name, (signals.RUN_ERRORS.name,)): 3.0,
    }


def test_the_same_values_keep_their_names_after_a_restart() -> None:
    kept = Kept(label_budget=2)
    kept.step(error("A"), error("B"))
    again = kept.restart(label_budget=1)
    again.step(error("C"), error("B"), error("A"))
    again.scraped(0)
    assert {labels[-1]: value for (_, labels), value in again.shown.items()} == {
        "A": 2.0,
        "B": 2.0,
        OTHER: 1.0,
        signals.RUN_ERRORS.name: 1.0,
    }


def test_fixed_and_empty_labels_need_no_budget() -> None:
    kept = Kept(label_budget=1)
    steps = [
        Step(signals.GATE_RESULTS.name, ("deploy", "", "", "accuracy", decision))
        for decision in ("pass", "fail")
    ]
    kept.step(*steps, Step(signals.GATE_RESULTS.name, ("", "", "", OTHER, "pass")))
    assert [labels for _, labels in kept.shown] == [
        ("", "", "", OTHER, "pass"),
        ("deploy", "", "", "accuracy", "fail"),
        ("deploy", "", "", "accuracy", "pass"),
    ]


def test_labels_are_made_safe() -> None:
    kept = Kept()
    kept.step(error("a\ud800\nb"), error("a\ud800\nb"), error("a\ufffd b"))
    assert kept.restart().table.find((ERRORS[0], (*OF_RUN, "a\ufffd b"))).value == 3.0  # type: ignore[union-attr] # it is there


def test_exemplars_are_kept_by_bucket_and_for_errors() -> None:
    kept = Kept()
    key = (signals.QUEUE_DURATION.name, OF_RUN)
    kept.step(Step(*key, 0.3, TRACE, 7), Step(*key, 0.01, "b" * 32, 8))
    kept.step(Step(*key, 0.4, "c" * 32, 0), error(trace_id=TRACE), now=9)
    kept.step(error(), Step(signals.MESSAGES.name, (*OF_RUN, "", "info", "x"), trace_id=TRACE))
    kept.scraped(0)
    found = {family.metric.name: family.exemplars for family in kept.table.families()}
    assert found == {
        signals.QUEUE_DURATION.name: {
            OF_RUN: (
                Exemplar("b" * 32, 0.01, 8),
                None,
                Exemplar("c" * 32, 0.4, 9),
                *[None] * 16,
            )
        },
        signals.RUN_ERRORS.name: {ERRORS[1]: (Exemplar(TRACE, 1.0, 5 * SECOND),)},
        signals.MESSAGES.name: {},
    }


def test_declared_series_exist_at_0_and_go_on_after_a_restart() -> None:
    kept = Kept()
    kept.table.declare(FROM_THE_START)
    assert set(kept.shown.values()) == {0.0}
    assert sorted({name for name, _ in kept.shown}) == sorted(
        metric.name
        for metric in (
            *(signals.BRIDGE_EVENTS, signals.BRIDGE_MISSED, signals.BRIDGE_GAPS),
            *(signals.BRIDGE_SPANS, signals.BRIDGE_EXPORTS, signals.BRIDGE_HISTORY_GAP),
        )
    )
    kept.scraped(0)
    assert kept.stored == []  # what was never stepped needs no row
    kept.step(Step(signals.BRIDGE_MISSED.name, (), 2))
    assert kept.shown[signals.BRIDGE_MISSED.name, ()] == 2.0
    with kept.engine.connect() as conn:
        kept.table.load(conn)
    assert len(kept.shown) == len(FROM_THE_START)
    assert kept.shown[signals.BRIDGE_MISSED.name, ()] == 2.0


def test_a_deployment_that_is_gone_takes_its_series_along() -> None:
    kept = Kept(label_budget=1)
    other = ("deploy", "test", "live")
    kept.table.declare([(signals.BRIDGE_MISSED, ())])
    kept.step(
        error(trace_id=TRACE),
        Step(signals.QUEUE_DURATION.name, OF_RUN, 1.0),
        Step(signals.RUN_ERRORS.name, (*other, "ValueError")),  # its deployment is folded
    )
    kept.commit(kept.table.forget("deploy", "prod"))
    folded = (signals.RUN_ERRORS.name, ("deploy", OTHER, "live", "ValueError"))
    overflow = (signals.BRIDGE_OVERFLOW.name, (signals.RUN_ERRORS.name,))
    assert set(kept.shown) == {folded, overflow, (signals.BRIDGE_MISSED.name, ())}
    assert {row[0] for row in kept.stored} == {folded[0], overflow[0]}
    kept.step(Step(signals.RUN_ERRORS.name, (*other, "ValueError")))  # there is room now
    assert (signals.RUN_ERRORS.name, (*other, "ValueError")) in kept.shown
    kept.commit(kept.table.forget("deploy", "nowhere"))
    kept.scraped(0)


def test_a_forgotten_series_begins_anew() -> None:
    kept = Kept()
    kept.step(error(count=4))
    kept.scraped(0)
    kept.commit(kept.table.forget("deploy", "prod"))
    assert (kept.shown, kept.stored, kept.table.exemplars_of(ERRORS)) == ({}, [], None)
    kept.step(error())
    assert kept.shown == {ERRORS: 0.0}


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (Step("made.up", ()), "no metric is named 'made.up'"),
        (Step(signals.RUN_ERRORS.name, ("deploy",)), "has 4 labels, not 1"),
    ],
)
def test_a_step_of_nothing_that_exists_is_an_error(step: Step, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Kept().table.stage([step], now=0)


def test_a_step_that_is_no_number_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    kept.step(error(count=float("nan")), error(count=float("inf")), error(count=-1.0))
    kept.scraped(0)
    assert kept.shown == {ERRORS: 0.0}
    assert caplog.messages == [f"A step of {ERRORS[0]} is not a number and was passed over"] * 2


def test_rows_of_another_version_of_ours_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    old = encode(Buckets(bounds=0))
    with kept.engine.begin() as conn:
        for name, value in (("made.up", b"1.0"), (signals.QUEUE_DURATION.name, old)):
            row = {"metric": name, "labels": '["a","b","c"]', "value": value, "shown": value}
            conn.execute(insert(series), {**row, "stepped": 0})
    with caplog.at_level(logging.WARNING):
        again = kept.restart()
    assert again.shown == {}
    name = signals.QUEUE_DURATION.name
    assert caplog.messages == [f"The bounds of {name} have changed: a series begins anew"]
    again.step(Step(name, ("a", "b", "c"), 1.0))
    assert again.restart().shown == {(name, ("a", "b", "c")): Buckets()}


def test_families_come_in_the_order_of_signals_with_their_series_in_order() -> None:
    kept = Kept()
    kept.step(Step(signals.MESSAGES.name, (*OF_RUN, "", "info", "x")), error("B"), error("A"))
    kept.step(error("AA"))

    def order() -> list[tuple[Metric, list[str]]]:
        return [
            (family.metric, [labels[-1] for labels, _ in family.samples])
            for family in kept.table.families()
        ]

    assert order() == [(signals.RUN_ERRORS, ["A", "AA", "B"]), (signals.MESSAGES, ["x"])]


class _Spoken:
    """Takes the place of a connection to Postgres, and compiles what it is given."""

    dialect = postgresql.dialect()

    def execute(self, statement: Any, rows: Any) -> None:
        self.text = " ".join(str(statement.compile(dialect=self.dialect)).split())


def test_postgres_is_spoken_to_in_its_own_words() -> None:
    conn: Any = _Spoken()
    series_rows.upsert(conn, Kept().table.stage([error()], now=0).rows)
    assert conn.text.endswith(
        "ON CONFLICT (metric, labels) DO UPDATE SET value = excluded.value, "
        "shown = excluded.shown, stepped = excluded.stepped"
    )
