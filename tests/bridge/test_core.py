"""One transaction for everything: what was committed shows, what failed leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from sqlalchemy import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger, outbox, tables
from prefect_otel_status.bridge.catalogue import Known
from prefect_otel_status.bridge.core import Core, trace_of
from prefect_otel_status.bridge.ingest import SWEEP, Ingested, ingest
from prefect_otel_status.bridge.lease import LeaseLostError
from prefect_otel_status.bridge.outbox import Cap, OutboxItem
from prefect_otel_status.bridge.records import (
    Observation,
    RunRow,
    Seen,
    StateFact,
    StatusFact,
    Step,
)
from prefect_otel_status.bridge.store import write_meta
from prefect_otel_status.ids import trace_id_of
from prefect_otel_status.tally import Tally
from tests.support.core import SECOND, Clock, a_core, a_lease, rows_of, totals
from tests.support.records import FLOW_RUN_ID, NOW, SPAN_ID

GAP = signals.BRIDGE_HISTORY_GAP
BAD = signals.BRIDGE_BAD_EVENTS
SPAN = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
async def core(tmp_path: Path, clock: Clock, tally: Tally) -> AsyncIterator[Core]:
    async with a_core(tmp_path, clock=clock, tally=tally) as core:
        yield core


def gap(value: float = 1.0) -> Step:
    return Step(GAP.name, (), value)


def nothing(connection: Connection) -> None:
    """Change nothing."""


def broken(connection: Connection) -> None:
    write_meta(connection, "broken", "yes")
    raise OSError("disk full")


def true_value(core: Core, metric: Any, *labels: str) -> float:
    series = core.series.find((metric.name, labels))
    return float(series.value) if series else 0.0  # type: ignore[arg-type]


def say(text: str = "a", at: int = NOW, **changes: Any) -> Observation:
    fact = StatusFact(at, text, text, sequence=at % 1000, **changes)
    return Observation(FLOW_RUN_ID, FLOW_RUN_ID, fact, "train", "prod")


class Failing:
    """Makes the transactions of a core fail, before or after they are committed."""

    def __init__(self, core: Core, *, committed: bool, error: BaseException) -> None:
        self._run = core.store.run
        self._committed = committed
        self._error = error
        core.store.run = self.run  # type: ignore[method-assign]
        self._core = core

    async def run(self, work: Callable[[Connection], Any]) -> Any:
        self._core.store.run = self._run  # type: ignore[method-assign]
        if self._committed:
            await self._run(work)
        raise self._error


# --- commit ----------------------------------------------------------------------------


async def test_work_and_steps_are_committed_together(core: Core, clock: Clock) -> None:
    clock.pass_by(5)
    result = await core.commit(lambda connection: write_meta(connection, "a", "b"), [gap(), gap()])
    assert result is None
    assert dict(await rows_of(core.store, tables.meta))["a"] == "b"
    assert (await totals(core.store, GAP))[GAP.name, ()] == true_value(core, GAP) == 2
    assert core.last_commit == clock.now


async def test_steps_may_follow_from_the_work(core: Core) -> None:
    assert await core.commit(lambda connection: 3.0, lambda result: [gap(result)]) == 3.0
    assert true_value(core, GAP) == 3


async def test_a_commit_that_fails_leaves_all_as_the_store_has_it(core: Core) -> None:
    await core.commit(nothing, [gap()])
    before = core.last_commit
    with pytest.raises(OSError, match="disk full"):
        await core.commit(broken, [gap()])
    assert true_value(core, GAP) == 1
    assert core.last_commit == before
    assert "broken" not in dict(await rows_of(core.store, tables.meta))
    await core.commit(nothing, [gap()])
    assert (await totals(core.store, GAP))[GAP.name, ()] == true_value(core, GAP) == 2


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("error", [OSError("gone"), asyncio.CancelledError()])
async def test_after_a_commit_in_doubt_the_counters_are_those_of_the_store(
    core: Core, committed: bool, error: BaseException
) -> None:
    await core.commit(nothing, [gap()])
    Failing(core, committed=committed, error=error)
    with pytest.raises(type(error)):
        await core.commit(nothing, [gap(10)])
    await core.commit(nothing, [gap()])
    expected = 12 if committed else 2
    assert (await totals(core.store, GAP))[GAP.name, ()] == true_value(core, GAP) == expected


async def test_unknown_steps_fail_and_leave_nothing(core: Core) -> None:
    with pytest.raises(ValueError, match="no metric"):
        await core.commit(lambda connection: write_meta(connection, "a", "b"), [Step("x", ())])
    assert "a" not in dict(await rows_of(core.store, tables.meta))
    await core.commit(nothing, [gap()])
    assert true_value(core, GAP) == 1


async def test_who_has_lost_the_lease_commits_nothing(core: Core) -> None:
    await core.store.run(core.lease.give_back)
    await core.store.run(a_lease("other").try_take)
    for commit in (
        core.commit(lambda connection: write_meta(connection, "a", "b"), [gap()]),
        core.commit_forgetting(lambda connection: write_meta(connection, "a", "b"), ("x", "y")),
    ):
        with pytest.raises(LeaseLostError):
            await commit
    assert "a" not in dict(await rows_of(core.store, tables.meta))
    assert await totals(core.store, GAP) == {}


async def test_many_commits_at_once_all_count(core: Core) -> None:
    await asyncio.gather(*(core.commit(nothing, [gap()]) for _ in range(20)))
    assert (await totals(core.store, GAP))[GAP.name, ()] == 20


# --- what happened outside a transaction --------------------------------------------------


async def test_what_was_bad_is_counted_with_the_next_commit(core: Core) -> None:
    for reason in ("not_json", "not_json", "bad_id"):
        core.bad(reason)
    assert await totals(core.store, BAD) == {}
    await core.commit(nothing)
    await core.commit(nothing)
    expected = {(BAD.name, ("not_json",)): 2, (BAD.name, ("bad_id",)): 1}
    assert await totals(core.store, BAD) == expected


async def test_what_was_bad_is_not_lost_with_a_commit_that_fails(core: Core) -> None:
    core.bad("not_json")
    with pytest.raises(OSError, match="disk full"):
        await core.commit(broken)
    core.bad("not_json")
    await core.commit(nothing)
    assert await totals(core.store, BAD) == {(BAD.name, ("not_json",)): 2}


async def test_secrets_that_were_taken_out_are_counted_once(core: Core, tally: Tally) -> None:
    tally.add(signals.PROCESS_REDACTIONS, "jwt", 2)
    tally.add(signals.PROCESS_FAILURES, "other", 5)  # not ours to count
    with pytest.raises(OSError, match="disk full"):
        await core.commit(broken)
    await core.commit(nothing)
    tally.add(signals.PROCESS_REDACTIONS, "jwt", 1)
    tally.add(signals.PROCESS_REDACTIONS, "password", 1)
    await core.commit(nothing)
    await core.commit(nothing)
    name = signals.BRIDGE_REDACTIONS.name
    assert await totals(core.store, signals.BRIDGE_REDACTIONS) == {
        (name, ("jwt",)): 3,
        (name, ("password",)): 1,
    }


# --- load and release ---------------------------------------------------------------------


async def test_what_was_committed_is_loaded(core: Core, tmp_path: Path) -> None:
    known = Known("train", "prod", environment="production")
    await core.commit(lambda connection: core.catalogue.write(connection, [known]), [gap(4)])
    async with a_core(tmp_path) as other:
        assert true_value(other, GAP) == 4
        assert other.catalogue.all() == [known]
        assert (other.since, other.last_commit) == (0, other.clock())


async def test_a_series_follows_its_true_value_when_it_was_shown_long_enough(core: Core) -> None:
    labels = ("train", "prod", "", "RUNNING", "Running")
    await core.commit(nothing, [Step(signals.TRANSITIONS.name, labels)])
    core.series.note_scrape(0)
    await core.release(29 * SECOND)
    assert shown(core, labels) == 0
    await core.release(30 * SECOND)
    await core.release(31 * SECOND)
    assert shown(core, labels) == 1
    await core.commit(nothing, [Step(signals.TRANSITIONS.name, labels)])
    assert shown(core, labels) == 2


def shown(core: Core, labels: tuple[str, ...]) -> float:
    series = core.series.find((signals.TRANSITIONS.name, labels))
    assert series is not None
    return float(series.shown)  # type: ignore[arg-type]


async def test_a_release_that_fails_is_made_up_for(core: Core) -> None:
    labels = ("train", "prod", "", "RUNNING", "Running")
    await core.commit(nothing, [Step(signals.TRANSITIONS.name, labels)])
    core.series.note_scrape(0)
    Failing(core, committed=False, error=OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await core.release(60 * SECOND)
    assert shown(core, labels) == 0
    await core.release(61 * SECOND)  # read anew, so held anew
    core.series.note_scrape(61 * SECOND)
    await core.release(120 * SECOND)
    assert shown(core, labels) == 1


async def test_the_series_of_a_deployment_are_forgotten_with_it(core: Core) -> None:
    old = ("train", "old", "", "RUNNING", "Running")
    new = ("train", "new", "", "RUNNING", "Running")
    await core.commit(nothing, [Step(signals.TRANSITIONS.name, labels) for labels in (old, new)])
    await core.commit_forgetting(
        lambda connection: write_meta(connection, "a", "b"), ("train", "old")
    )
    assert await totals(core.store, signals.TRANSITIONS) == {(signals.TRANSITIONS.name, new): 1}
    assert core.series.find((signals.TRANSITIONS.name, old)) is None
    assert dict(await rows_of(core.store, tables.meta))["a"] == "b"


# --- ingest --------------------------------------------------------------------------------


async def test_what_is_read_is_kept_and_counted_once(core: Core) -> None:
    state = StateFact("s", "RUNNING", "Running", NOW)
    batch = [say(), Observation(FLOW_RUN_ID, FLOW_RUN_ID, state, "train", "prod")]
    for new in (2, 0):
        assert (await core.ingest(batch, path=SWEEP)).new == new
    events = (signals.BRIDGE_EVENTS.name, (SWEEP,))
    found = await totals(core.store)
    assert found[events] == 2
    assert found[signals.MESSAGES.name, ("train", "prod", "", "", "info", "a")] == 1
    assert found[signals.TRANSITIONS.name, ("train", "prod", "", "RUNNING", "Running")] == 1
    rows = await core.store.read(lambda connection: ledger.load_rows(connection, [FLOW_RUN_ID]))
    assert rows[FLOW_RUN_ID].message == "a"


async def test_nothing_that_is_read_costs_nothing(core: Core) -> None:
    Failing(core, committed=False, error=AssertionError("no transaction"))
    assert await core.ingest([], path=SWEEP) == Ingested()


async def test_what_could_not_be_kept_is_kept_when_it_is_read_again(core: Core) -> None:
    bound = {signals.ENVIRONMENT.name: "production"}
    Failing(core, committed=False, error=OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        await core.ingest([say(bound=bound)], path=SWEEP)
    found = await core.ingest([say(bound=bound)], path=SWEEP)
    assert found.new == 1
    assert [known.environment for known in core.catalogue.all()] == ["production"]
    assert len(await rows_of(core.store, tables.deployments)) == 1


async def test_an_environment_of_a_transaction_that_failed_is_not_known(core: Core) -> None:
    bound = {signals.ENVIRONMENT.name: "production"}
    steps = [say(bound=bound)]

    def work(connection: Connection) -> Any:
        ingest(
            connection,
            steps,
            path=SWEEP,
            catalogue=core.catalogue,
            since=0,
            now=NOW,
            settle=0,
        )
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await core.commit(work)
    await core.commit(nothing)
    assert core.catalogue.all() == []


# --- statuses as log events ------------------------------------------------------------------


async def test_statuses_become_log_events_only_where_they_are_asked_for(core: Core) -> None:
    told: list[int] = []
    core.on_outbox = lambda: told.append(1)
    await core.ingest([say()], path=SWEEP)
    assert (await core.store.read(outbox.depth)).items == 0
    assert told == []


async def test_a_status_becomes_a_log_event_of_its_trace(tmp_path: Path, clock: Clock) -> None:
    async with a_core(tmp_path, clock=clock, logs=True) as core:
        told: list[int] = []
        core.on_outbox = lambda: told.append(1)
        seen = Observation(FLOW_RUN_ID, FLOW_RUN_ID, Seen(traceparent=SPAN, updated=1))
        fact = say(
            "Scored {model}",
            event="scored",
            level="error",
            stage="score",
            span_id=SPAN_ID,
            attributes={"model": "bert"},
            bound={"model.version": 3},
        )
        await core.ingest([seen, fact], path=SWEEP)
        await core.ingest([seen, fact], path=SWEEP)
        assert told == [1]
        (row,) = await core.store.read(
            lambda connection: outbox.take(connection, "logs", max_bytes=10**6, max_items=10)
        )
    assert row.name == "scored"
    (scope,) = ResourceLogs.FromString(row.body).scope_logs
    (record,) = scope.log_records
    assert (record.event_name, record.body.string_value) == ("scored", "Scored {model}")
    assert (record.severity_text, record.severity_number) == ("ERROR", 17)
    assert record.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert int.from_bytes(record.span_id, "big") == SPAN_ID
    attributes = {a.key: a.value.string_value or a.value.int_value for a in record.attributes}
    assert attributes == {
        "model": "bert",
        "model.version": 3,
        "cicd.pipeline.name": "train",
        "cicd.pipeline.run.id": FLOW_RUN_ID,
        signals.TEMPLATE.name: "Scored {model}",
        signals.STAGE.name: "score",
        signals.LEVEL.name: "error",
    }


async def test_what_had_to_go_from_the_outbox_is_counted(tmp_path: Path) -> None:
    async with a_core(tmp_path, cap=Cap(max_bytes=15)) as core:
        items = [OutboxItem("traces", False, NOW, f"{n}", b"x" * 10) for n in range(3)]
        await core.commit(lambda connection: core.put(connection, items), lambda steps: steps)
        assert await totals(core.store, signals.BRIDGE_DROPS) == {
            (signals.BRIDGE_DROPS.name, ("outbox_size",)): 2
        }
        assert await core.commit(lambda connection: core.put(connection, [])) == []


# --- traces -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "trace_id"),
    [
        (RunRow(FLOW_RUN_ID), trace_id_of(FLOW_RUN_ID)),
        (RunRow(FLOW_RUN_ID, seen=Seen(root_run_id="r")), trace_id_of("r")),
        (RunRow(FLOW_RUN_ID, traceparent=SPAN), 0x0AF7651916CD43DD8448EB211C80319C),
        (
            RunRow(FLOW_RUN_ID, seen=Seen(parent_traceparent=SPAN)),
            0x0AF7651916CD43DD8448EB211C80319C,
        ),
    ],
)
def test_the_trace_of_a_run_is_its_processs_else_its_roots(row: RunRow, trace_id: int) -> None:
    assert trace_of(row) == trace_id
