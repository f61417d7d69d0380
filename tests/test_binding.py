"""`bind`: what is said below carries it, in this process and others; it ends when it should."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Generator
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, task

from prefect_otel_status import bind, flow_hooks, signals, stage, status, task_hooks
from prefect_otel_status.binding import attributes_of, inherit, labels_of
from prefect_otel_status.runs import bound_here
from tests.support.hostile import SECRETS, VALUES
from tests.support.records import FLOW_RUN_ID
from tests.support.telling import Told, a_flow_run, a_task_run, in_task, is_safe

Tell = Callable[..., Told]
PREFIX = signals.BOUND_LABEL_PREFIX


@flow
def train() -> None:
    """The flow of these tests."""


@task
def score() -> None:
    """Its task."""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, dict[str, Any]]]:
    """The labels that are written to the server."""
    found: list[tuple[UUID, dict[str, Any]]] = []
    monkeypatch.setattr(
        "prefect_otel_status.binding._write_labels",
        lambda runtime, run_id, labels: found.append((run_id, labels)),
    )
    return found


Written = list[tuple[UUID, dict[str, Any]]]


# --- what is bound ------------------------------------------------------------


def test_names_are_those_of_the_conventions_and_values_are_kept() -> None:
    assert attributes_of(
        {"model": "bert", "version": 3, "environment": "prod", "team": ["a", "b"], "none": None}
    ) == {
        "model.name": "bert",
        "model.version": 3,
        "deployment.environment.name": "prod",
        "team": ("a", "b"),
    }


def test_what_is_bound_is_on_everything_said_inside_and_on_nothing_after(told: Told) -> None:
    status("before")
    with bind(model="bert", environment="prod"):
        status("inside")
        with bind(model="gpt", version="3"):
            status("innermost")
        status("inside again")
    status("after")
    environment = {"deployment.environment.name": "prod"}
    assert [said.bound for said in told.statuses] == [
        {},
        {"model.name": "bert", **environment},
        {"model.name": "gpt", "model.version": "3", **environment},
        {"model.name": "bert", **environment},
        {},
    ]


def test_an_environment_of_the_settings_is_the_default(tell: Tell) -> None:
    told = tell(environment="staging")
    status("outside")
    with bind(environment="prod"):
        status("inside")
    assert [said.bound["deployment.environment.name"] for said in told.statuses] == [
        "staging",
        "prod",
    ]


def test_it_is_restored_after_an_exception_which_passes(told: Told) -> None:
    error = ValueError("as it was raised")
    with pytest.raises(ValueError) as caught, bind(model="bert"):
        raise error
    assert caught.value is error
    assert bound_here() == {}


async def test_it_may_be_used_in_async_code(told: Told) -> None:
    async with bind(model="bert"):
        await asyncio.sleep(0)
        status("inside")
    assert [said.bound for said in told.statuses] == [{"model.name": "bert"}]
    assert bound_here() == {}


def test_leaving_it_in_another_context_harms_nothing(told: Told) -> None:
    def items() -> Generator[int, None, None]:
        with bind(model="bert"):
            yield 1

    running = items()
    contextvars.copy_context().run(next, running)
    contextvars.copy_context().run(running.close)
    assert bound_here() == {}
    assert told.tally(signals.PROCESS_FAILURES) == {}


def test_leaving_it_twice_harms_nothing(told: Told) -> None:
    bound = bind(model="bert")
    bound.__exit__(None, None, None)
    bound.__exit__(None, None, None)
    assert bound_here() == {}


# --- a plain call -------------------------------------------------------------


def test_a_plain_call_lasts_for_the_rest_of_its_run(told: Told, written: Written) -> None:
    def run() -> None:
        with told.run_of(train):
            bind(model="bert")
            status("in the run")
        status("after the run")

    contextvars.copy_context().run(run)
    assert [(said.message, said.bound) for said in told.statuses] == [
        ("in the run", {"model.name": "bert"}),
        ("after the run", {}),
    ]
    assert told.spans["RUN train"].attributes["model.name"] == "bert"


def test_the_next_run_does_not_inherit_it(told: Told, written: Written) -> None:
    def run() -> None:
        with bind(environment="prod"):
            with told.run_of(train):
                bind(model="bert")
            with told.run_of(train, id=UUID(int=5), name="next"):
                status("in the next run")

    contextvars.copy_context().run(run)
    assert [said.bound for said in told.statuses] == [{"deployment.environment.name": "prod"}]
    first, second = told.exporter.get_finished_spans()
    assert (first.attributes["model.name"], "model.name" in second.attributes) == ("bert", False)


def test_a_stage_inside_has_it_on_its_span(told: Told) -> None:
    with bind(model="bert"), stage("evaluate"):
        pass
    assert told.spans["evaluate"].attributes["model.name"] == "bert"
    assert [ended.bound for ended in told.stages] == [{"model.name": "bert"}]


# --- labels -------------------------------------------------------------------


def test_a_flow_runs_labels_carry_it_down_until_its_end(told: Told, written: Written) -> None:
    with told.run_of(train) as run:
        trace = dict(run.labels)
        with bind(model="bert", version=3):
            assert run.labels == {
                **trace,
                f"{PREFIX}model.name": "bert",
                f"{PREFIX}model.version": 3,
            }
            with bind(model="gpt"):
                assert run.labels[f"{PREFIX}model.name"] == "gpt"
            assert run.labels[f"{PREFIX}model.name"] == "bert"
        assert run.labels == trace
    assert written == [
        (UUID(FLOW_RUN_ID), {f"{PREFIX}model.name": "bert", f"{PREFIX}model.version": 3}),
        (UUID(FLOW_RUN_ID), {f"{PREFIX}model.name": "gpt"}),
    ]


def test_a_task_run_carries_it_without_a_call_to_the_server(told: Told, written: Written) -> None:
    run = a_task_run()
    with told.run_of(train), in_task(score, run):
        with bind(model="bert"):
            assert run.labels == {f"{PREFIX}model.name": "bert"}
        assert run.labels == {}
    assert written == []


def test_labels_of_another_process_are_bound_here(told: Told) -> None:
    labels = {f"{PREFIX}model.name": "bert", "own": "label"}
    with told.run_of(train, labels=labels):
        status("below")
        with bind(model="gpt"):
            status("bound here")
    assert [said.bound for said in told.statuses] == [{"model.name": "bert"}, {"model.name": "gpt"}]


def test_labels_are_scalars_without_secrets(told: Told) -> None:
    values = attributes_of({"team": ["a", "b"], "key": SECRETS["jwt"], "large": 2**70})
    assert labels_of(told.runtime, values) == {
        f"{PREFIX}team": "('a', 'b')",
        f"{PREFIX}key": "[redacted]",
        f"{PREFIX}large": str(2**70),
    }


def test_binding_nothing_writes_nothing(told: Told, written: Written) -> None:
    with told.run_of(train) as run, bind(model=None):
        labels = dict(run.labels)
    assert written == []
    assert run.labels == labels


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_hostile_value_harms_nothing(told: Told, written: Written, value: Any) -> None:
    with told.run_of(train) as run, bind(value=value):
        labels = dict(run.labels)
        status("said")
    assert told.messages == ["said"]
    assert is_safe([told.statuses, labels])
    assert told.tally(signals.PROCESS_FAILURES) == {}


def test_disabled_it_binds_nothing(tell: Tell) -> None:
    tell(enabled=False)
    with bind(model="bert"):
        assert bound_here() == {}


def test_a_failure_of_ours_lets_the_code_run(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(told.runtime.registry, "scope", refuse)
    with bind(model="bert"):
        pass
    assert told.tally(signals.PROCESS_FAILURES) == {"bind": 1}


# --- threads and deployments --------------------------------------------------


def test_a_thread_has_it_and_gives_nothing_back(told: Told, written: Written) -> None:
    from prefect_otel_status import threads

    def speak() -> None:
        status("in a thread")
        bind(version="3")

    threads.install()
    with told.run_of(train), bind(model="bert"):
        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()
        status("after it")
    assert [said.bound for said in told.statuses] == [{"model.name": "bert"}] * 2


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ({}, {f"{PREFIX}model.name": "bert"}),
        ({"labels": None}, {f"{PREFIX}model.name": "bert"}),
        (
            {"labels": {"own": 1, f"{PREFIX}model.name": "own"}},
            {"own": 1, f"{PREFIX}model.name": "own"},
        ),
    ],
)
def test_a_deployments_run_is_created_with_what_is_bound(
    told: Told, written: Written, given: dict[str, Any], passed: dict[str, Any]
) -> None:
    calls: list[tuple[Any, Any]] = []

    def create(*arguments: Any, **named: Any) -> str:
        calls.append((arguments, named))
        return "created"

    with told.run_of(train), bind(model="bert"):
        assert inherit(create, ("id",), dict(given)) == "created"
    assert calls == [(("id",), {"labels": passed})]


def test_outside_a_run_a_deployments_run_gets_what_is_bound_here(told: Told) -> None:
    calls: list[Any] = []
    with bind(model="bert"):
        inherit(lambda **named: calls.append(named), (), {})
    assert calls == [{"labels": {f"{PREFIX}model.name": "bert"}}]


# --- with a real server -------------------------------------------------------


@pytest.mark.server
def test_the_server_knows_the_labels_of_a_flow_run(told: Told, prefect_here: str) -> None:
    from prefect.client.orchestration import get_client

    @task(**task_hooks())
    def below() -> None:
        status("in a task")

    @flow(**flow_hooks())
    def labelled() -> UUID:
        from prefect.runtime import flow_run

        with bind(model="bert"):
            below()
        return UUID(str(flow_run.id))

    run_id = labelled()
    assert told.runtime.background.flush(20)
    with get_client(sync_client=True) as client:
        labels = client.read_flow_run(run_id).labels
    assert labels[f"{PREFIX}model.name"] == "bert"
    assert [said.bound for said in told.statuses] == [{"model.name": "bert"}]
    assert told.tally(signals.PROCESS_FAILURES) == {}


def test_a_run_of_prefects_without_labels_is_left_alone(told: Told, written: Written) -> None:
    run = a_flow_run()
    assert run.labels == {}
    with bind(model="bert"):
        assert run.labels == {}
