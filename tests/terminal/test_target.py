"""Which deployment or flow a person means, and which lines belong to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from prefect_otel_status.bridge.records import Seen
from prefect_otel_status.bridge.wire import Deployment, FlowRun
from prefect_otel_status.terminal.find import NotFound
from prefect_otel_status.terminal.lines import Line
from prefect_otel_status.terminal.target import Target, Wanted, deployment_names, find_targets

FLOWS = {"f1": "train", "f2": "report", "f3": "a/b"}
DEPLOYMENTS = [("prod", "f1"), ("test", "f1"), ("prod", "f2"), ("report", "f1"), ("x", "f3")]


class Server:
    """Answers what `find_targets` asks, as Prefect does."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def post(self, path: str, body: Any) -> bytes:
        self.asked.append(path)
        names = body.get("flows", {}).get("name", {}).get("any_")
        if path == "flows/filter":
            return json.dumps([{"id": i} for i, name in FLOWS.items() if name in names]).encode()
        wanted = body["deployments"]["name"]["any_"]
        found = [
            {"id": name}
            for name, flow in DEPLOYMENTS
            if name in wanted and (names is None or FLOWS[flow] in names)
        ]
        return json.dumps(found).encode()

    async def deployments(self) -> list[Deployment]:
        return [Deployment(id=name + flow, name=name, flow_id=flow) for name, flow in DEPLOYMENTS]

    async def flow_names(self, ids: Iterable[str]) -> dict[str, str]:
        return {flow: FLOWS[flow] for flow in ids}

    async def runs_by_id(self, ids: Iterable[str]) -> list[FlowRun]:
        raise AssertionError("no run is asked for")


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("train/prod", (Target("train", "prod"),)),
        (" train/prod ", (Target("train", "prod"),)),
        ("test", (Target(deployment="test"),)),
        ("train", (Target(flow="train"),)),
        ("report", (Target(deployment="report"), Target(flow="report"))),
        ("a/b", (Target(flow="a/b"),)),
        ("a/b/x", (Target("a/b", "x"),)),
    ],
)
async def test_a_name_is_a_deployments_a_flows_or_both(
    text: str, targets: tuple[Target, ...]
) -> None:
    assert await find_targets(Server(), Server(), text) == targets


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("train/prdo", "perhaps train/prod"),
        ("tset", "perhaps train/test"),
        ("", "`prefect-otel-status ls` lists them"),
        ("something-else", "`prefect-otel-status ls` lists them"),
    ],
)
async def test_what_there_is_not_is_a_sentence_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        await find_targets(Server(), Server(), text)
    assert str(caught.value) == f"No deployment or flow is called {text!r}; {hint}."


async def test_all_names_are_whole_and_in_order() -> None:
    expected = ["a/b/x", "report/prod", "train/prod", "train/report", "train/test"]
    assert await deployment_names(Server()) == expected


# --- whose a line is ---------------------------------------------------------

RUNS = {
    "own": Seen(flow_name="train", deployment_name="prod", root_run_id="own"),
    "below": Seen(flow_name="helper", root_run_id="own"),
    "other": Seen(flow_name="train", deployment_name="test", root_run_id="other"),
    "alone": Seen(flow_name="helper", root_run_id="alone"),
}


class History:
    """Describes `RUNS`, and counts how often it was asked for each."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def deployments(self) -> list[Deployment]:
        return []

    async def flow_names(self, ids: Iterable[str]) -> dict[str, str]:
        return {}

    async def runs_by_id(self, ids: Iterable[str]) -> list[FlowRun]:
        self.asked.append(list(ids))
        return [FlowRun(id=run_id) for run_id in self.asked[-1] if run_id in RUNS]

    async def describe(self, runs: list[FlowRun]) -> Mapping[str, Seen]:
        return {run.id: RUNS[run.id] for run in runs}


def line(run_id: str, flow: str, deployment: str = "") -> Line:
    key = (run_id, flow)
    return Line(key, 0, "status", "info", "said", flow, deployment, run_id)


ALL = [
    line("own", "train", "prod"),
    line("below", "helper"),
    line("other", "train", "test"),
    line("alone", "helper"),
    line("gone", "helper"),
    line("", "helper"),
]


async def chosen(wanted: Wanted) -> list[str]:
    return [found.run_id for found in await wanted.chosen(ALL)]


async def test_a_deployment_has_what_its_subflows_say() -> None:
    history = History()
    wanted = Wanted((Target("train", "prod"),), history, history)
    assert await chosen(wanted) == ["own", "below"]
    assert history.asked == [["alone", "below", "gone"], ["alone", "own"]]


async def test_a_run_is_asked_for_once() -> None:
    history = History()
    wanted = Wanted((Target("train", "prod"),), history, history)
    assert await chosen(wanted) == await chosen(wanted)
    assert len(history.asked) == 2


async def test_a_flow_has_all_its_deployments() -> None:
    history = History()
    assert await chosen(Wanted((Target(flow="train"),), history, history)) == [
        *("own", "below", "other")
    ]


async def test_several_targets_add_up() -> None:
    history = History()
    targets = (Target(deployment="test"), Target(flow="helper"))
    assert await chosen(Wanted(targets, history, history)) == [
        *("below", "other", "alone", "gone", "")
    ]


async def test_without_a_target_all_is_wanted_and_nothing_asked() -> None:
    history = History()
    assert await Wanted((), history, history).chosen(ALL) == ALL
    assert history.asked == []
