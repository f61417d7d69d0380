"""What is done now and then: deployments and workers looked at, what is old forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger, tables, wire
from prefect_otel_status.bridge.catalogue import Known
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.housekeeping import Housekeeper
from prefect_otel_status.bridge.records import ENDED, SETTLED, RunRow, Step
from tests.support.core import Clock, a_core, cleaning, rows_of, totals

HOUR = 3600
FLOW, OTHER = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
HOURLY = [wire.Schedule(schedule={"interval": float(HOUR)})]


class Listing:
    """The calls of `PrefectApi` that list things."""

    def __init__(self) -> None:
        self.found: list[wire.Deployment] = []
        self.pools: dict[str, list[wire.Worker]] = {}
        self.asked: list[list[str]] = []

    async def deployments(self) -> list[wire.Deployment]:
        return self.found

    async def flow_names(self, ids: Iterable[str]) -> dict[str, str]:
        self.asked.append(list(ids))
        return {flow_id: {FLOW: "train", OTHER: "password=hunter22"}[flow_id] for flow_id in ids}

    async def work_pools(self) -> list[wire.WorkPool]:
        return [wire.WorkPool(name) for name in self.pools]

    async def workers(self, pool: str) -> list[wire.Worker]:
        return self.pools[pool]


def deployment(name: str = "prod", flow_id: str | None = FLOW, **changes: Any) -> wire.Deployment:
    return wire.Deployment(f"id-{name}", name, flow_id, **{"schedules": HOURLY, **changes})


@pytest.fixture
async def core(tmp_path: Path, clock: Clock) -> AsyncIterator[Core]:
    async with a_core(tmp_path, clock=clock, retention=1000.0) as core:
        yield core


@pytest.fixture
def listing() -> Listing:
    return Listing()


@pytest.fixture
def keeper(core: Core, listing: Listing) -> Housekeeper:
    api: Any = listing
    return Housekeeper(core, api, Describer(api, cleaning()), cleaning())


async def stored(core: Core) -> list[tuple[str, str, float]]:
    rows = await rows_of(core.store, tables.deployments)
    return sorted((row.flow, row.deployment, row.interval) for row in rows)


# --- deployments -------------------------------------------------------------------


async def test_schedules_and_names_are_learned(
    core: Core, listing: Listing, keeper: Housekeeper, clock: Clock
) -> None:
    listing.found = [deployment(), deployment("quiet", OTHER, schedules=[])]
    await keeper.look_at_deployments()
    names = ("train", "prod", float(HOUR)), ("password=[redacted]", "quiet", 0.0)
    assert await stored(core) == sorted(names)
    assert core.catalogue.get(("train", "prod")) == Known(
        "train", "prod", interval=float(HOUR), last_seen=clock.now
    )
    run = wire.FlowRun(FLOW, deployment_id="id-prod")
    assert (await keeper._describer.describe([run]))[FLOW].deployment_name == "prod"


async def test_what_has_not_changed_is_not_written_nor_asked_for_again(
    core: Core, listing: Listing, keeper: Housekeeper, clock: Clock
) -> None:
    listing.found = [deployment()]
    await keeper.look_at_deployments()
    first = core.last_commit
    clock.pass_by(60)
    await keeper.look_at_deployments()
    assert core.last_commit == first
    assert listing.asked == [[FLOW]]


async def test_what_runs_have_shown_stays(
    core: Core, listing: Listing, keeper: Housekeeper
) -> None:
    shown = Known("train", "prod", "production", "bert", "3", 5, 6, last_result="success")
    core.catalogue.adopt([shown])
    listing.found = [deployment()]
    await keeper.look_at_deployments()
    assert core.catalogue.all() == [
        Known("train", "prod", "production", "bert", "3", 5, 6, float(HOUR), "success")
    ]


@pytest.mark.parametrize(
    "later",
    [
        [deployment(paused=True)],
        [deployment(schedules=[])],
        [deployment(schedules=[wire.Schedule(active=False, schedule={"interval": 60.0})])],
        [deployment("another", schedules=[])],
        [],  # deleted
    ],
)
async def test_of_a_deployment_without_schedule_nothing_is_expected_any_more(
    core: Core, listing: Listing, keeper: Housekeeper, later: list[wire.Deployment]
) -> None:
    listing.found = [deployment()]
    await keeper.look_at_deployments()
    listing.found = later
    await keeper.look_at_deployments()
    assert core.catalogue.get(("train", "prod")).interval == 0
    assert ("train", "prod", 0.0) in await stored(core)


async def test_a_deployment_without_a_flow_is_no_trouble(
    core: Core, listing: Listing, keeper: Housekeeper
) -> None:
    listing.found = [deployment(flow_id=None)]
    await keeper.look_at_deployments()
    assert await stored(core) == [("", "prod", float(HOUR))]
    assert listing.asked == []


# --- workers -------------------------------------------------------------------------


async def test_workers_are_counted_by_their_state(listing: Listing, keeper: Housekeeper) -> None:
    states = ("ONLINE", "ONLINE", "OFFLINE", None)
    listing.pools = {"busy\n": [wire.Worker("w", state) for state in states], "idle": []}
    assert keeper.workers == {}
    await keeper.look_at_workers()
    assert keeper.workers == {
        signals.WORKER_COUNT: [
            (("busy ", "available"), 2.0),
            (("busy ", "offline"), 2.0),
            (("idle", "available"), 0.0),
            (("idle", "offline"), 0.0),
        ]
    }
    listing.pools = {}
    await keeper.look_at_workers()
    assert keeper.workers == {signals.WORKER_COUNT: []}


# --- forgetting ------------------------------------------------------------------------


def step(deployment: str) -> Step:
    return Step(signals.TRANSITIONS.name, ("train", deployment, "", "RUNNING", "Running"))


async def test_what_is_old_is_forgotten_and_its_series_with_it(
    core: Core, keeper: Housekeeper, clock: Clock
) -> None:
    old, fresh = clock.now - 1001 * 10**9, clock.now
    rows = [
        RunRow("old", phase=SETTLED, due=old, flow_name="train", deployment_name="gone"),
        RunRow("fresh", phase=SETTLED, due=fresh, flow_name="train", deployment_name="runs"),
        RunRow("waits", phase=ENDED, due=old, flow_name="train", deployment_name="waits"),
    ]
    known = [
        Known("train", "gone", last_seen=old),
        Known("train", "runs", last_seen=old),
        Known("train", "waits", last_seen=old),
        Known("train", "scheduled", last_seen=old, interval=60.0),
    ]

    def work(connection: Any) -> None:
        ledger.save_rows(connection, rows)
        core.catalogue.write(connection, known)

    await core.commit(work, [step(each.deployment) for each in known])
    core.catalogue.adopt(known)
    await keeper.forget()
    assert {row.id for row in await rows_of(core.store, tables.runs)} == {"fresh", "waits"}
    left = ["runs", "scheduled", "waits"]
    assert [name for _, name, _ in await stored(core)] == left
    assert sorted(each.deployment for each in core.catalogue.all()) == left
    series = await totals(core.store, signals.TRANSITIONS)
    assert sorted(labels[1] for _, labels in series) == left


async def test_a_deployment_that_was_deleted_is_forgotten_in_time(
    core: Core, listing: Listing, keeper: Housekeeper, clock: Clock
) -> None:
    listing.found = [deployment()]
    await keeper.look_at_deployments()
    listing.found = []
    await keeper.look_at_deployments()
    await keeper.forget()
    assert len(core.catalogue.all()) == 1
    clock.pass_by(1001)
    await keeper.forget()
    assert (core.catalogue.all(), await stored(core)) == ([], [])
