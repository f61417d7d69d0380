"""What is known of runs beyond their events: names and places in a tree, each asked for once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge import describe as describe_module
from prefect_otel_status.bridge import wire
from prefect_otel_status.bridge.describe import Cache, Describer
from prefect_otel_status.bridge.records import Seen
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.bridge.tracing import write_traceparent
from prefect_otel_status.ids import run_span_id_of, trace_id_of
from tests.support.core import cleaning
from tests.support.histories import load
from tests.support.replay import RecordedApi

SPAN = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
AT = "2026-11-24T18:13:25.724941Z"


def an_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


class Family:
    """An API whose runs are one another's children: run n has the parent task n, of run n - 1."""

    def __init__(self, *runs: wire.FlowRun, label: str = "") -> None:
        self.found = {run.id: run for run in runs}
        self.label = label
        self.asked: list[tuple[str, list[str]]] = []

    async def flow_names(self, ids: Iterable[str]) -> dict[str, str]:
        self.asked.append(("flows", list(ids)))
        return {flow_id: "password=hunter22" for flow_id in ids if flow_id == an_id(900)}

    async def deployments(self) -> list[wire.Deployment]:
        self.asked.append(("deployments", []))
        return [wire.Deployment(an_id(800), "prod\n")]

    async def runs_by_id(self, ids: Iterable[str]) -> list[wire.FlowRun]:
        self.asked.append(("runs", list(ids)))
        return [self.found[run_id] for run_id in ids if run_id in self.found]

    async def task_runs_by_id(self, ids: Iterable[str]) -> list[wire.TaskRun]:
        self.asked.append(("tasks", list(ids)))
        labels = {signals.TRACEPARENT_LABEL: self.label}
        return [
            wire.TaskRun(task_id, flow_run_id=an_id(int(task_id[-12:]) - 1001), labels=labels)
            for task_id in ids
            if int(task_id[-12:]) < 5000
        ]


def child(number: int, **changes: Any) -> wire.FlowRun:
    return wire.FlowRun(an_id(number), parent_task_run_id=an_id(1000 + number), **changes)


def root(number: int = 0, **changes: Any) -> wire.FlowRun:
    return wire.FlowRun(an_id(number), **changes)


async def described(*runs: wire.FlowRun, api: Any = None) -> dict[str, Seen]:
    return await Describer(api or Family(*runs), cleaning()).describe(list(runs))


async def seen_of(run: wire.FlowRun, *above: wire.FlowRun, label: str = "") -> Seen:
    return (await described(run, api=Family(run, *above, label=label)))[run.id]


# --- one run -----------------------------------------------------------------------


async def test_a_run_is_described_whole() -> None:
    bound = {f"{signals.BOUND_LABEL_PREFIX}model.name": "bert", "mine": "x"}
    run = root(
        name="owl\n",
        flow_id=an_id(900),
        deployment_id=an_id(800),
        labels={signals.TRACEPARENT_LABEL: SPAN, **bound},
        run_count=2,
        expected_start_time=AT,
        start_time=AT,
        end_time=AT,
        updated=AT,
        work_pool_name="pool",
    )
    at = nanoseconds(AT)
    assert await seen_of(run) == Seen(
        name="owl ",
        flow_name="password=[redacted]",
        deployment_id=an_id(800),
        deployment_name="prod ",
        root_run_id=run.id,
        traceparent=SPAN,
        bound={"model.name": "bert"},
        expected_start=at,
        started=at,
        ended=at,
        updated=at,
        run_count=2,
        work_pool="pool",
    )


async def test_a_bare_run_is_its_own_root() -> None:
    assert await seen_of(root()) == Seen(root_run_id=an_id(0))


async def test_what_the_server_no_longer_knows_has_no_name() -> None:
    run = root(flow_id=an_id(901), deployment_id=an_id(801))
    assert await seen_of(run) == Seen(deployment_id=an_id(801), root_run_id=run.id)


@pytest.mark.parametrize("label", ["", "rubbish", 7, None, ["a"]])
async def test_a_label_that_names_no_span_is_none(label: Any) -> None:
    assert (await seen_of(root(labels={signals.TRACEPARENT_LABEL: label}))).traceparent == ""


async def test_five_hundred_labels_are_bounded_and_safe() -> None:
    labels = {f"{signals.BOUND_LABEL_PREFIX}a{n}\ud800": "x\x00" for n in range(500)}
    found = await seen_of(root(labels=labels))
    assert len(found.bound) == 64
    msgspec.json.encode(found)


# --- trees -----------------------------------------------------------------------------


async def test_a_child_hangs_below_the_span_that_its_parent_task_names() -> None:
    found = await seen_of(child(1), root(), label=SPAN)
    assert (found.parent_run_id, found.root_run_id, found.parent_traceparent) == (
        *(an_id(0), an_id(0), SPAN),
    )


async def test_a_child_hangs_below_the_span_of_its_parents_process() -> None:
    parent = root(labels={signals.TRACEPARENT_LABEL: SPAN})
    assert (await seen_of(child(1), parent)).parent_traceparent == SPAN


async def test_a_child_of_a_parent_without_a_process_hangs_below_the_bridges_own() -> None:
    trace_id = trace_id_of(an_id(0))
    below_parent = write_traceparent(trace_id, run_span_id_of(an_id(0)), sampled=True)
    assert (await seen_of(child(1), root())).parent_traceparent == below_parent
    grandchild = await seen_of(child(2), child(1), root())
    assert grandchild.root_run_id == an_id(0)
    assert grandchild.parent_traceparent == write_traceparent(
        trace_id, run_span_id_of(an_id(1)), sampled=True
    )


async def test_a_decision_not_to_sample_is_handed_down() -> None:
    label = SPAN[:-1] + "0"
    found = await seen_of(child(2), child(1), root(labels={signals.TRACEPARENT_LABEL: label}))
    trace_id = 0x0AF7651916CD43DD8448EB211C80319C
    assert found.parent_traceparent == write_traceparent(
        trace_id, run_span_id_of(an_id(1)), sampled=False
    )


async def test_a_parent_that_is_gone_makes_its_child_a_root() -> None:
    found = await seen_of(child(1), label=SPAN)
    assert found == Seen(root_run_id=an_id(1))
    orphan = wire.FlowRun(an_id(3), parent_task_run_id=an_id(9000))
    assert await seen_of(orphan) == Seen(root_run_id=an_id(3))


async def test_runs_that_are_above_one_another_end_somewhere() -> None:
    # Run 0 has as its parent the task of run 0: a circle.
    circle = wire.FlowRun(an_id(0), parent_task_run_id=an_id(1001))
    api = Family(circle)
    found = (await described(circle, api=api))[an_id(0)]
    assert found.parent_run_id == found.root_run_id == an_id(0)
    assert len(api.asked) < 2 * describe_module._DEEPEST


async def test_a_deep_tree_has_one_root() -> None:
    runs = [root(), *(child(number) for number in range(1, 40))]
    found = await described(*reversed(runs))
    assert {seen.root_run_id for seen in found.values()} == {an_id(0)}


@pytest.mark.parametrize("variant", ["plain", "ours", "foreign"])
async def test_recorded_subflows_have_one_root(variant: str) -> None:
    api = RecordedApi(load(f"subflows.{variant}"))
    found = await Describer(api, cleaning()).describe(api.runs())
    roots = {seen.root_run_id for seen in found.values()}
    assert len(roots) == 1
    assert sum(not seen.parent_run_id for seen in found.values()) == 1


# --- asking once -----------------------------------------------------------------------


async def test_each_name_and_each_parent_is_asked_for_once() -> None:
    run = child(1, flow_id=an_id(900), deployment_id=an_id(800))
    other = child(2, flow_id=an_id(900), deployment_id=an_id(800))
    api = Family(run, root())
    describer = Describer(api, cleaning())
    await describer.describe([run])
    assert api.asked == [
        ("flows", [an_id(900)]),
        ("deployments", []),
        ("tasks", [an_id(1001)]),
        ("runs", [an_id(0)]),
    ]
    api.asked.clear()
    await describer.describe([run, other])
    assert api.asked == [("tasks", [an_id(1002)])]


async def test_a_deployment_that_is_gone_is_not_asked_for_again() -> None:
    api = Family()
    describer = Describer(api, cleaning())
    for _ in range(2):
        await describer.describe([root(deployment_id=an_id(801))])
    assert api.asked == [("deployments", [])]


async def test_deployments_that_were_listed_anyway_need_not_be_asked_for() -> None:
    api = Family()
    describer = Describer(api, cleaning())
    describer.learn([wire.Deployment(an_id(801), "staging")])
    found = await describer.describe([root(deployment_id=an_id(801))])
    assert found[an_id(0)].deployment_name == "staging"
    assert api.asked == []


async def test_nothing_is_asked_for_nothing() -> None:
    api = Family()
    assert await Describer(api, cleaning()).describe([]) == {}
    assert api.asked == []


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe_module, "_CACHED", 3)
    cache: Cache[int] = Cache()
    for number in range(5):
        cache.keep(str(number), number)
    assert cache == {"2": 2, "3": 3, "4": 4}
