"""Which run is meant: by id, name, the beginning of either; as the last; and what else to write."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from prefect_otel_status.bridge.wire import FlowRun
from prefect_otel_status.terminal.find import NotFound, find_last, find_run

ONE = "3f0e0b5e-8a52-4c0f-9f0c-1b7f0a1d2c3e"
TWO = "3f0e0b5e-0000-4c0f-9f0c-1b7f0a1d2c3e"
THREE = "77777777-8a52-4c0f-9f0c-1b7f0a1d2c3e"

RUNS = [
    FlowRun(id=ONE, name="wise-owl"),
    FlowRun(id=TWO, name="wise-owl-2"),
    FlowRun(id=THREE, name="brave-cat"),
]


class Api:
    """A server with RUNS that searches as Prefect does; it keeps what it was asked."""

    def __init__(self, runs: list[FlowRun] = RUNS) -> None:
        self.runs = runs
        self.asked: list[dict[str, Any]] = []

    async def latest_runs(
        self, flow_runs: dict[str, Any] | None = None, *, limit: int = 0, **others: Any
    ) -> list[FlowRun]:
        given = {"flow_runs": flow_runs, **others}
        self.asked.append({name: value for name, value in given.items() if value})
        like = (flow_runs or {}).get("name", {}).get("like_", "").lower()
        return [run for run in self.runs if like in (run.name or "").lower()][: limit or None]


def answer(question: Coroutine[Any, Any, str]) -> str:
    return asyncio.run(question)


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        (ONE, ONE),
        (ONE.upper(), ONE),
        (f"  {ONE} ", ONE),
        ("wise-owl", ONE),  # whole, though it also begins another
        ("Wise-Owl-", TWO),
        ("brave", THREE),
        ("7777", THREE),
    ],
)
def test_a_run_is_found_by_its_id_its_name_or_how_it_begins(text: str, run_id: str) -> None:
    assert answer(find_run(Api(), text)) == run_id


def test_an_id_needs_no_question() -> None:
    api = Api()
    answer(find_run(api, ONE))
    assert api.asked == []


@pytest.mark.parametrize("text", ["", "owl", "zzz"])
def test_what_begins_no_run_says_what_else_to_write(text: str) -> None:
    with pytest.raises(NotFound, match=r"No run is called .* copy its id from Prefect, or use"):
        answer(find_run(Api(), text))


def test_more_than_one_run_are_listed() -> None:
    with pytest.raises(NotFound) as caught:
        answer(find_run(Api(), "wise"))
    assert str(caught.value) == (
        f"'wise' is more than one run; write one of these ids:\n"
        f"  {ONE}  wise-owl\n  {TWO}  wise-owl-2"
    )


def test_of_many_runs_five_are_listed() -> None:
    many = [FlowRun(id=f"{i:08d}-8a52-4c0f-9f0c-1b7f0a1d2c3e", name="same") for i in range(7)]
    with pytest.raises(NotFound, match=r"(?s)00000004.*\n  and 2 more$"):
        answer(find_run(Api(many), "same"))


def test_the_last_is_the_outermost_that_began_last() -> None:
    api = Api()
    assert answer(find_last(api, None)) == ONE
    outermost = {
        "start_time": {"is_null_": False},
        "parent_task_run_id": {"is_null_": True},
    }
    assert api.asked == [{"flow_runs": outermost}]


@pytest.mark.parametrize(
    ("deployment", "asked"),
    [
        ("deploy/prod", [{"deployments": ["prod"], "flows": ["deploy"]}]),
        ("prod", [{"deployments": ["prod"]}]),
    ],
)
def test_the_last_of_a_deployment(deployment: str, asked: list[dict[str, list[str]]]) -> None:
    api = Api()
    assert answer(find_last(api, deployment)) == ONE
    assert [_names(question) for question in api.asked] == asked


def test_a_flow_without_deployments_has_a_last_run_too() -> None:
    class OfNoDeployment(Api):
        async def latest_runs(self, *args: Any, **others: Any) -> list[FlowRun]:
            found = await super().latest_runs(*args, **others)
            return [] if others.get("deployments") else found

    api = OfNoDeployment()
    assert answer(find_last(api, "score")) == ONE
    assert [_names(question) for question in api.asked] == [
        {"deployments": ["score"]},
        {"flows": ["score"]},
    ]


def _names(question: dict[str, Any]) -> dict[str, list[str]]:
    return {kind: of["name"]["any_"] for kind, of in question.items() if kind != "flow_runs"}


def test_where_nothing_has_begun_it_says_so() -> None:
    with pytest.raises(NotFound, match=r"No run of deploy/prod has begun yet; .* ls"):
        answer(find_last(Api([]), "deploy/prod"))
