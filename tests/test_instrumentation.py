"""Zero code: every flow and task has our hooks, until it is undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect import Flow, Task, flow, task

from prefect_otel_status import instrument, instrumentation, signals, uninstrument
from prefect_otel_status.hooks import FLOW_HOOKS, TASK_HOOKS, FlowHook, OwnHook, TaskHook
from prefect_otel_status.instrumentation import PrefectInstrumentor
from tests.support.telling import Told

Tell = Callable[..., Told]


def page_me(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook of the user's."""


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    uninstrument()
    yield
    uninstrument()


def a_flow(**options: Any) -> Flow[..., None]:
    @flow(**options)
    def made() -> None:
        """A flow made now."""

    return made


def a_task(**options: Any) -> Task[..., None]:
    @task(**options)
    def made() -> None:
        """A task made now."""

    return made


def hooks_of(found: Any, names: tuple[str, ...]) -> list[Any]:
    return [getattr(found, f"{name}_hooks") for name in names]


def test_flows_and_tasks_made_from_now_on_have_our_hooks(told: Told) -> None:
    instrument()
    assert hooks_of(a_flow(), FLOW_HOOKS) == [[FlowHook()]] * 5
    assert hooks_of(a_task(), TASK_HOOKS) == [[TaskHook()]] * 3


def test_own_hooks_come_first(told: Told) -> None:
    instrument()
    assert a_flow(on_failure=[page_me]).on_failure_hooks == [OwnHook(page_me), FlowHook()]
    assert a_task(on_failure=[page_me]).on_failure_hooks == [page_me, TaskHook()]


def test_hooks_are_ours_once_however_often_it_is_called(told: Told) -> None:
    instrument()
    instrument()
    assert a_flow().with_options(name="again").on_running_hooks == [FlowHook()]
    assert a_task().with_options(name="again").on_running_hooks == [TaskHook()]


def test_it_is_undone(told: Told) -> None:
    before = Flow.__dict__["__init__"], Task.__dict__["__init__"]
    instrument()
    made = a_flow()
    uninstrument()
    uninstrument()
    assert (Flow.__dict__["__init__"], Task.__dict__["__init__"]) == before
    assert made.on_running_hooks == [FlowHook()]
    assert a_flow().on_running_hooks == []


def test_disabled_flows_are_as_they_were_made(tell: Tell) -> None:
    tell(enabled=False)
    instrument()
    assert hooks_of(a_flow(), FLOW_HOOKS) == [[]] * 5


def test_a_failure_of_ours_leaves_the_flow_as_it_was_made(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(instrumentation, "with_ours", refuse)
    instrument()
    assert a_flow(on_failure=[page_me]).on_failure_hooks == [page_me]
    assert told.tally(signals.PROCESS_FAILURES) == {"instrument": 1}


def test_what_opentelemetry_instrument_loads_does_the_same(told: Told) -> None:
    instrumentor = PrefectInstrumentor()
    assert instrumentor.instrumentation_dependencies() == ("prefect >= 3.6, < 4",)
    instrumentor.instrument()
    try:
        assert a_flow().on_running_hooks == [FlowHook()]
    finally:
        instrumentor.uninstrument()
    assert a_flow().on_running_hooks == []
