"""The calls of Prefect's API, against a real server."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from prefect_otel_status.bridge import wire
from prefect_otel_status.bridge.api import EVENT_PREFIXES, PrefectApi
from prefect_otel_status.bridge.connection import Connection, RequestRefused, ServerUnavailable
from prefect_otel_status.bridge.records import TASK
from prefect_otel_status.bridge.server import PrefectServer
from prefect_otel_status.bridge.times import iso, nanoseconds
from tests.support.records import NOW, SECOND
from tests.support.server import prefect_server

# A connection that the server closes just then would fail a test for nothing.
ONE_REQUEST_A_CONNECTION = httpx.Limits(max_keepalive_connections=0)

PAST = "2024-02-03T04:05:06.000000Z"
DAY = 86_400 * SECOND


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calls")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """A server of our own: hundreds of runs would be in the way of other tests."""
    # Nothing else may write meanwhile, or SQLite is locked.
    quiet = {
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    }
    with prefect_server(home, **quiet) as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Writes to the real server, as the bridge never does."""
    async with httpx.AsyncClient(
        base_url=address, timeout=60, limits=ONE_REQUEST_A_CONNECTION
    ) as client:
        yield client


@pytest.fixture
async def api(address: str) -> AsyncIterator[PrefectApi]:
    connection = Connection(lambda: PrefectServer(address))
    yield PrefectApi(connection, on_bad=pytest.fail)
    await connection.close()


async def create(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    response = await client.post(path, json=body)
    # SQLite is locked by another writer: the server asks to try again.
    for _ in range(50):
        if response.status_code != 503:
            break
        response = await client.post(path, json=body)
    response.raise_for_status()
    return response.json()


async def a_flow(client: httpx.AsyncClient) -> str:
    flow = await create(client, "/flows/", name=f"flow-{uuid4()}")
    return str(flow["id"])


async def flow_runs(
    client: httpx.AsyncClient, flow_id: str, count: int, type: str, **details: Any
) -> list[str]:
    state = {"type": type, "state_details": details}
    made = [await create(client, "/flow_runs/", flow_id=flow_id, state=state) for _ in range(count)]
    return [run["id"] for run in made]


async def pages(iterator: AsyncIterator[Any]) -> list[Any]:
    return [page async for page in iterator]


@pytest.mark.server
async def test_reads_250_runs_of_one_time_and_none_that_are_not_due(
    api: PrefectApi, client: httpx.AsyncClient
) -> None:
    flow_id = await a_flow(client)
    due = await flow_runs(client, flow_id, 250, "SCHEDULED", scheduled_time=PAST)
    later = iso(time.time_ns() + DAY)
    await flow_runs(client, flow_id, 3, "SCHEDULED", scheduled_time=later)
    await flow_runs(client, flow_id, 2, "COMPLETED")
    types = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
    active = [(await flow_runs(client, flow_id, 1, type))[0] for type in types]

    found = [r for r in await api.active_runs(now_ns=time.time_ns()) if r.flow_id == flow_id]

    assert len(found) == 254
    assert {run.id for run in found} == {*due, *active}
    assert {run.expected_start_time for run in found if run.id in due} == {"2024-02-03T04:05:06Z"}


@pytest.mark.server
async def test_reads_250_runs_that_ended_at_one_time(
    api: PrefectApi, client: httpx.AsyncClient, home: Path
) -> None:
    flow_id = await a_flow(client)
    ended = await flow_runs(client, flow_id, 250, "COMPLETED")
    with sqlite3.connect(home / "prefect.db", timeout=30) as database:
        database.execute(
            "UPDATE flow_run SET end_time = '2024-02-03 04:05:06.000000' WHERE flow_id = ?",
            (flow_id,),
        )
    moment = nanoseconds(PAST)

    found = await pages(api.ended_runs(since_ns=moment, until_ns=moment + SECOND))
    after = await pages(api.ended_runs(since_ns=moment + SECOND, until_ns=moment + 2 * SECOND))

    assert len(found[0]) == 200
    ids = [run.id for page in found for run in page]
    assert (len(ids), set(ids)) == (250, set(ended))
    assert after == [[]]


@pytest.mark.server
async def test_the_first_page_has_those_that_ended_last(
    api: PrefectApi, client: httpx.AsyncClient
) -> None:
    before = time.time_ns()
    flow_id = await a_flow(client)
    ended = await flow_runs(client, flow_id, 5, "FAILED")

    found = await pages(api.ended_runs(since_ns=before, page=2))

    assert [run.id for run in found[0]] == [ended[4], ended[3]]
    ids = [run.id for page in found for run in page]
    assert (len(ids), set(ids)) == (5, set(ended))


@pytest.mark.server
async def test_reads_runs_by_id(api: PrefectApi, client: httpx.AsyncClient) -> None:
    flow_id = await a_flow(client)
    ids = await flow_runs(client, flow_id, 3, "RUNNING")
    unknown = [str(uuid4()) for _ in range(250)]

    found = await api.runs_by_id([ids[0], *unknown, ids[2], ids[0]])

    assert {run.id for run in found} == {ids[0], ids[2]}
    assert len(found) == 2
    assert await api.runs_by_id([]) == []
    assert {run.state_type for run in found} == {"RUNNING"}
    name = (await client.get(f"/flows/{flow_id}")).json()["name"]
    assert await api.flow_names([flow_id, *unknown]) == {flow_id: name}


@pytest.mark.server
async def test_reads_the_tasks_of_many_runs(api: PrefectApi, client: httpx.AsyncClient) -> None:
    flow_id = await a_flow(client)
    first, second, other = await flow_runs(client, flow_id, 3, "RUNNING")
    made: dict[str, list[str]] = {}
    for run_id, count in ((first, 205), (second, 2), (other, 1)):
        for number in range(count):
            task = {"task_key": "t", "dynamic_key": str(number), "state": {"type": "RUNNING"}}
            run = await create(client, "/task_runs/", flow_run_id=run_id, **task)
            made.setdefault(run_id, []).append(run["id"])

    found = await api.task_runs_of([first, second])

    assert len(found) == 207
    assert {run.id for run in found} == {*made[first], *made[second]}
    by_id = await api.task_runs_by_id(made[other])
    assert [(run.id, run.flow_run_id, run.task_key) for run in by_id] == [
        (made[other][0], other, "t")
    ]
    states = await api.task_states(made[other][0])
    assert [state.type for state in states] == ["RUNNING"]


@pytest.mark.server
async def test_reads_the_states_of_a_run(api: PrefectApi, client: httpx.AsyncClient) -> None:
    (run_id,) = await flow_runs(client, await a_flow(client), 1, "PENDING")
    failed = {"type": "FAILED", "name": "Failed", "message": "It rained."}
    await create(client, f"/flow_runs/{run_id}/set_state", state=failed, force=True)

    states = await api.flow_states(run_id)

    said = [(state.type, state.name, state.message) for state in states]
    assert sorted(said, key=str) == [
        ("FAILED", "Failed", "It rained."),
        ("PENDING", "Pending", None),
    ]
    assert all(state.id and nanoseconds(state.timestamp) for state in states)
    assert await api.flow_states(str(uuid4())) == []


def an_event(run_id: str, occurred: str, **changes: Any) -> dict[str, Any]:
    usual = {
        "id": str(uuid4()),
        "event": "prefect-otel-status.statuses",
        "occurred": occurred,
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        "payload": {"version": 1},
    }
    return {**usual, **changes}


async def emit(client: httpx.AsyncClient, api: PrefectApi, events: list[dict[str, Any]]) -> None:
    (await client.post("/events", json=events)).raise_for_status()
    run_id = events[0]["resource"]["prefect.resource.id"].rpartition(".")[2]
    deadline = time.monotonic() + 30
    while await api.event_count_of(run_id) < len(events):
        assert time.monotonic() < deadline, "the events were not written"


@pytest.mark.server
async def test_reads_all_events_of_a_run_whenever_they_occurred(
    api: PrefectApi, client: httpx.AsyncClient
) -> None:
    run_id, task_id = str(uuid4()), str(uuid4())
    now = time.time_ns()
    times = [iso(now)] * 60 + [iso(now + number * SECOND) for number in range(60)]
    events = [an_event(run_id, occurred) for occurred in times]
    events.append(an_event(run_id, iso(now + 3650 * DAY)))
    of_the_task = {
        "resource": {"prefect.resource.id": f"prefect.task-run.{task_id}"},
        "related": [
            {
                "prefect.resource.id": f"prefect.flow-run.{run_id}",
                "prefect.resource.role": "flow-run",
            }
        ],
    }
    events.append(an_event(run_id, iso(now - DAY), event="prefect.task-run.Running", **of_the_task))
    await emit(client, api, events)
    (
        await client.post("/events", json=[an_event(run_id, iso(now), event="else")])
    ).raise_for_status()

    found = await pages(api.events_of([run_id]))

    ids = [event.id for page, _ in found for event in page]
    assert (len(ids), set(ids)) == (122, {event["id"] for event in events})
    assert [total for _, total in found] == [122, 122, 122]
    assert ids[0] == events[-1]["id"]
    assert ids[-1] == events[-2]["id"]
    assert await api.event_count_of(task_id, kind=TASK) == 1
    of_task = await pages(api.events_of([task_id], kind=TASK))
    assert [[event.event for event in page] for page, _ in of_task] == [
        ["prefect.task-run.Running"]
    ]


@pytest.mark.server
async def test_reads_the_events_of_a_window_newest_first(
    api: PrefectApi, client: httpx.AsyncClient
) -> None:
    run_id = str(uuid4())
    start = nanoseconds("2090-01-01T00:00:00Z")
    events = [an_event(run_id, iso(start + number * SECOND)) for number in range(70)]
    await emit(client, api, events)

    window = api.events(since_ns=start + 5 * SECOND, until_ns=start + 65 * SECOND)
    found = await pages(window)

    assert [len(page) for page, _ in found] == [50, 11]
    assert [total for _, total in found] == [61, 61]
    ids = [event.id for page, _ in found for event in page]
    assert ids == [event["id"] for event in reversed(events[5:66])]
    first = found[0][0][0]
    assert first == wire.Event(
        id=events[65]["id"],
        event="prefect-otel-status.statuses",
        occurred=first.occurred,
        received=first.received,
        resource={"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        payload={"version": 1},
    )
    assert nanoseconds(first.occurred) == start + 65 * SECOND
    assert abs(nanoseconds(first.received) - time.time_ns()) < 600 * SECOND


@pytest.mark.server
async def test_reads_deployments_pools_and_workers(
    api: PrefectApi, client: httpx.AsyncClient
) -> None:
    flow_id, pool = await a_flow(client), f"pool / {uuid4()}"
    pool = pool.replace("/", "-")
    await create(client, "/work_pools/", name=pool, type="process")
    schedule = {"active": True, "schedule": {"interval": 3600, "timezone": "UTC"}}
    made = [
        await create(
            client, "/deployments/", name=f"d{number}", flow_id=flow_id, schedules=[schedule]
        )
        for number in range(3)
    ]
    await client.post(f"/work_pools/{pool}/workers/heartbeat", json={"name": "w1"})

    deployments = [d for d in await api.deployments() if d.flow_id == flow_id]

    assert {d.id: d.name for d in deployments} == {d["id"]: d["name"] for d in made}
    assert {d.schedules[0].schedule["interval"] for d in deployments} == {3600.0}
    assert pool in {found.name for found in await api.work_pools()}
    assert await api.workers(pool) == [wire.Worker("w1", "ONLINE")]
    assert (await api.version()).count(".") >= 2


def test_the_prefixes_are_prefects_and_ours() -> None:
    assert EVENT_PREFIXES == ("prefect.flow-run.", "prefect.task-run.", "prefect-otel-status.")


class Canned:
    """Gives the same answer to everything."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.asked: list[str] = []
        self._answer = answer

    async def post(self, path: str, body: Any) -> bytes:
        return await self.get(path)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        self.asked.append(path)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


async def test_passes_over_runs_that_cannot_be_decoded() -> None:
    reasons: list[str] = []
    rows = [{"id": "1", "run_count": 2}, {"id": "2", "run_count": "many"}, {"name": "none"}, 5]
    api = PrefectApi(Canned(msgspec.json.encode(rows)), on_bad=reasons.append)
    assert await pages(api.ended_runs(since_ns=NOW)) == [[wire.FlowRun(id="1", run_count=2)]]
    assert reasons == ["wrong_type", "missing_field", "wrong_type"]


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b'{"detail":"?"}', b"", b"\xff"])
async def test_says_that_something_else_answers(body: bytes) -> None:
    with pytest.raises(ServerUnavailable, match="not Prefect's API"):
        await PrefectApi(Canned(body)).flow_states("1")


@pytest.mark.parametrize("answer", [RequestRefused("no", status=404), b"<html>", b"3"])
async def test_a_server_that_does_not_tell_its_version(answer: bytes | Exception) -> None:
    assert await PrefectApi(Canned(answer)).version() == ""


async def test_the_name_of_a_pool_is_no_path() -> None:
    canned = Canned(b"[]")
    assert await PrefectApi(canned).workers("a/../b?c") == []
    assert canned.asked == ["work_pools/a%2F..%2Fb%3Fc/workers/filter"]
