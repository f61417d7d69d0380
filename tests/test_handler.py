"""The classic state handler and the states it is given."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from prefect.states import Completed, Failed, Running

from prefect_otel_status import signals
from prefect_otel_status.handler import Answer, HandlerState, call_handler
from prefect_otel_status.tally import Tally

WHERE: ContextVar[str] = ContextVar("where", default="nowhere")
OBJECT = object()


def call(handler: Any, *, timeout: float = 10.0, tally: Tally | None = None) -> bool:
    """Call HANDLER as a run would that goes from Running to Completed."""
    states = Running(), Completed(message="all good")
    return call_handler(handler, OBJECT, *states, timeout=timeout, tally=tally or Tally())


# --- calling -------------------------------------------------------------------


def test_a_handler_gets_the_object_and_both_states() -> None:
    seen: list[Any] = []

    def handler(obj: Any, old_state: Any, new_state: Any) -> None:
        seen.append((obj, old_state.name, new_state.name, new_state.message))

    assert call(handler)
    assert seen == [(OBJECT, "Running", "Completed", "all good")]


def test_an_async_handler_is_awaited() -> None:
    seen: list[str] = []

    async def handler(obj: Any, old_state: Any, new_state: Any) -> None:
        await asyncio.sleep(0)
        seen.append(new_state.name)

    assert call(handler)
    assert seen == ["Completed"]


async def test_an_async_handler_is_awaited_within_a_running_loop() -> None:
    seen: list[str] = []

    async def handler(obj: Any, old_state: Any, new_state: Any) -> None:
        await asyncio.sleep(0)
        seen.append(new_state.name)

    assert call(handler)
    assert seen == ["Completed"]


def test_a_handler_runs_in_a_copy_of_the_context_on_a_thread_of_its_own() -> None:
    seen: list[Any] = []

    def handler(obj: Any, old_state: Any, new_state: Any) -> None:
        seen.extend((WHERE.get(), threading.current_thread() is threading.main_thread()))
        WHERE.set("in the handler")

    token = WHERE.set("in the run")
    try:
        assert call(handler)
        assert (seen, WHERE.get()) == (["in the run", False], "in the run")
    finally:
        WHERE.reset(token)


def _raises(error: BaseException) -> Callable[..., None]:
    def handler(*states: Any) -> None:
        raise error

    return handler


def _raises_later(error: BaseException) -> Callable[..., Any]:
    async def handler(*states: Any) -> None:
        await asyncio.sleep(0)
        raise error

    return handler


@pytest.mark.parametrize("make", [_raises, _raises_later])
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_what_a_handler_raises_is_counted(make: Any, error: BaseException) -> None:
    tally = Tally()
    assert call(make(error), tally=tally)
    assert tally.read() == {(signals.PROCESS_FAILURES, "handler"): 1}


def test_a_handler_that_takes_other_arguments_is_counted() -> None:
    tally = Tally()
    assert call(lambda: None, tally=tally)
    assert tally.read() == {(signals.PROCESS_FAILURES, "handler"): 1}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_that_hangs_holds_the_run_up_no_longer_than_its_bound(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gate, left = threading.Event(), threading.Event()

    def wait(*states: Any) -> None:
        gate.wait(10)
        left.set()

    async def wait_async(*states: Any) -> None:
        wait()

    tally = Tally()
    began = time.monotonic()
    assert call(wait_async if is_async else wait, timeout=0.05, tally=tally) is False
    assert time.monotonic() - began < 2
    gate.set()
    assert left.wait(10)
    assert tally.read() == {(signals.PROCESS_FAILURES, "handler_timeout"): 1}
    assert [record.message for record in caplog.records] == [
        "Status telemetry failed at handler_timeout and goes on without: "
        "TimeoutError: no answer after 0.05 s"
    ]


# --- states --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "running", "completed", "failed"),
    [
        (Running(), True, False, False),
        (Completed(), False, True, False),
        (Failed(message="no"), False, False, True),
        (None, False, False, False),
    ],
    ids=["running", "completed", "failed", "none"],
)
def test_a_state_answers_as_an_attribute_and_as_a_call(
    state: Any, running: bool, completed: bool, failed: bool
) -> None:
    shown = HandlerState(state)
    answers = (shown.is_running, shown.is_completed, shown.is_failed)
    assert answers == (running, completed, failed)
    assert tuple(answer() for answer in answers) == (running, completed, failed)


def test_everything_else_is_the_states_own() -> None:
    state = Failed(message="no")
    shown = HandlerState(state)
    own = (state.name, state.type, state.message, state.id, state.timestamp)
    assert (shown.name, shown.type, shown.message, shown.id, shown.timestamp) == own
    assert shown.state is state
    assert bool(shown) is True
    assert repr(shown) == f"HandlerState({state!r})"


def test_before_the_first_state_there_is_nothing_to_see() -> None:
    shown = HandlerState(None)
    names = ("name", "type", "message", "id", "timestamp", "data")
    assert [getattr(shown, name) for name in names] == [None] * 6
    assert bool(shown) is False
    assert repr(shown) == "HandlerState(None)"


@pytest.mark.parametrize("state", [Running(), None], ids=["running", "none"])
@pytest.mark.parametrize("name", ["colour", "_private"])
def test_what_a_state_does_not_have_is_an_attribute_error(state: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(HandlerState(state), name)


def test_a_question_that_a_state_does_not_know_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="is_purple"):
        _ = HandlerState(Running()).is_purple


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_state_can_be_copied(duplicate: Any) -> None:
    assert duplicate(HandlerState(Completed())).is_completed == Answer(True)


# --- answers -------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, False])
def test_an_answer_is_like_its_value(value: bool) -> None:
    answer = Answer(value)
    assert bool(answer) is value
    assert answer() is value
    assert answer == value
    assert answer != (not value)
    assert answer == Answer(value)
    assert (hash(answer), repr(answer)) == (hash(value), repr(value))


def test_an_answer_is_not_equal_to_what_is_no_answer() -> None:
    assert Answer(True) != "yes"
    assert Answer(True) != 2
