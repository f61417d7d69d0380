"""Reading one run: which requests, what comes of a run that is gone, silent, or too large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import reading, wire
from prefect_otel_status.bridge.connection import ServerUnavailable
from prefect_otel_status.bridge.reading import Trace
from prefect_otel_status.bridge.times import nanoseconds
from tests.support.histories import load
from tests.support.replay import RecordedApi, trace_of, trace_reader

UNKNOWN = "00000000-0000-4000-8000-000000000000"
HOUR = 3600.0


def read(api: RecordedApi, run_id: str) -> Trace | None:
    return asyncio.run(trace_reader(api, clock=lambda: 2**61).read(run_id))


def top(api: RecordedApi) -> wire.FlowRun:
    return next(run for run in api.runs() if not run.parent_task_run_id)


def test_a_run_that_is_not_there_is_none() -> None:
    api = RecordedApi(load("success.ours"))
    assert read(api, UNKNOWN) is None


def test_a_server_that_cannot_be_read_is_said() -> None:
    api = RecordedApi(load("success.ours"))
    api.broken["runs_by_id"] = ServerUnavailable("It is away.")
    with pytest.raises(ServerUnavailable, match="It is away"):
        read(api, top(api).id)


def test_the_requests_do_not_grow_with_the_tasks() -> None:
    few, many = RecordedApi(load("success.ours")), RecordedApi(load("mapped.ours"))
    for api in (few, many):
        assert read(api, top(api).id) is not None
    assert len(many.tasks()) > 3 * len(few.tasks())
    assert many.calls == few.calls


def test_a_subflow_can_be_read_on_its_own() -> None:
    api = RecordedApi(load("subflows.ours"))
    names = {flow["id"]: flow["name"] for flow in load("subflows.ours").flows}
    middle = next(run for run in api.runs() if names[run.flow_id or ""] == "middle")
    found = read(api, middle.id)
    assert found is not None
    top_spans = [span.name for span in found.spans if not span.parent_span_id]
    assert (found.run.id, top_spans) == (middle.id, ["RUN middle"])
    assert {"RUN bottom", "step"} < {span.name for span in found.spans}


def test_a_task_outside_of_a_flow_is_a_trace_too() -> None:
    api = RecordedApi(load("background.ours"))
    free = next(task for task in api.tasks() if not task.flow_run_id)
    found = read(api, free.id)
    assert found is not None
    assert found.run.kind == "task"
    assert next(span for span in found.spans if not span.parent_span_id).span_id


def test_a_task_of_a_flow_is_no_run_of_its_own() -> None:
    api = RecordedApi(load("success.ours"))
    assert read(api, api.tasks()[0].id) is None


def test_a_run_whose_heartbeats_stopped_is_taken_for_dead() -> None:
    found = trace_of("killed_by_hand.ours", after=HOUR)
    run = next(span for span in found.spans if span.name == "RUN killed-by-hand")
    assert run.attributes[signals.RESULT.name] == "error"
    assert run.attributes[signals.INFERRED.name] is True
    assert run.attributes[signals.MESSAGE.name] == "About to be killed"
    assert found.run.inferred


class Endless(RecordedApi):
    """Every run has further subflows."""

    async def subflow_runs(self, ids: Sequence[str]) -> AsyncIterator[list[wire.FlowRun]]:
        run = top(self)
        number = int(list(ids)[-1][-6:], 16) if next(iter(ids)) != run.id else 0
        yield [
            msgspec.structs.replace(run, id=f"00000000-0000-4000-8000-{number + i:012x}")
            for i in range(1, 60)
        ]


def test_a_tree_that_is_too_large_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Endless(load("success.plain"))
    found = read(api, top(api).id)
    assert found is not None
    assert not found.is_whole
    runs: list[Any] = [span for span in found.spans if span.name == "RUN success"]
    assert 0 < len(runs) <= reading.MOST_RUNS


def test_the_time_of_a_run_that_goes_on_is_the_clocks() -> None:
    api = RecordedApi(load("killed_by_hand.plain"))
    latest = max(nanoseconds(event.occurred) for event in api.all_events())
    found = asyncio.run(trace_reader(api, clock=lambda: latest + 5).read(top(api).id))
    assert found is not None
    assert max(span.end for span in found.spans) == latest + 5
