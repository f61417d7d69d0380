"""Calls to Prefect's API that the flow must not wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from prefect_otel_status import background as background_module
from prefect_otel_status import signals
from prefect_otel_status.background import Background
from prefect_otel_status.tally import Tally

WAIT = 10.0
WHERE: ContextVar[str] = ContextVar("where", default="nowhere")


class Hanging:
    """A call that hangs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.gate.wait(WAIT)


def raising(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def test_calls_run_one_after_the_other_in_order() -> None:
    background, seen = Background(tally=Tally()), list[int]()
    for number in range(100):
        background.submit("x", lambda number=number: seen.append(number), None)  # type: ignore[misc]
    assert background.flush(WAIT)
    assert seen == list(range(100))


def test_a_call_runs_in_the_context_it_was_given_and_changes_nothing_there() -> None:
    background, seen = Background(tally=Tally()), list[str]()

    def call() -> None:
        seen.append(WHERE.get())

    context = copy_context()
    context.run(WHERE.set, "in the run")
    background.submit("x", call, context)
    background.submit("x", call, None)
    assert background.flush(WAIT)
    assert seen == ["in the run", "nowhere"]


def test_a_context_that_is_in_use_elsewhere_can_be_used() -> None:
    tally, done, context = Tally(), threading.Event(), copy_context()
    background = Background(tally=tally)

    def submit_and_wait() -> bool:
        background.submit("x", done.set, context)
        return background.flush(WAIT)

    assert context.run(submit_and_wait)
    assert done.is_set()
    assert tally.read() == {}


def test_what_a_call_raises_is_counted_by_its_place_and_the_next_one_runs() -> None:
    tally, done = Tally(), threading.Event()
    background = Background(tally=tally)
    background.submit("labels", raising(ValueError("no")), None)
    background.submit("labels", raising(OSError("no")), None)
    background.submit("artifact", raising(KeyError("no")), None)
    background.submit("x", done.set, None)
    assert background.flush(WAIT)
    assert done.is_set()
    assert tally.read() == {
        (signals.PROCESS_FAILURES, "labels"): 2,
        (signals.PROCESS_FAILURES, "artifact"): 1,
    }


def test_a_call_that_wants_to_leave_the_process_does_not_end_the_others() -> None:
    tally, done = Tally(), threading.Event()
    background = Background(tally=tally)
    background.submit("labels", raising(SystemExit(1)), None)
    background.submit("x", done.set, None)
    assert background.flush(2.0)
    assert done.is_set()
    assert tally.read() == {(signals.PROCESS_FAILURES, "labels"): 1}


def test_submit_does_not_wait_and_beyond_the_bound_calls_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background_module, "_IDLE", 0.01)
    tally, hanging, seen = Tally(), Hanging(), list[int]()
    background = Background(tally=tally, capacity=3)
    background.submit("x", hanging, None)
    assert hanging.entered.wait(WAIT)
    began = time.monotonic()
    for number in range(10):
        background.submit("labels", lambda number=number: seen.append(number), None)  # type: ignore[misc]
    assert time.monotonic() - began < 2
    assert tally.read() == {(signals.PROCESS_DROPS, "labels_backlog"): 7}
    thread = background._thread
    hanging.gate.set()
    assert thread is not None
    thread.join(WAIT)
    assert seen == [0, 1, 2]


def test_flush_waits_for_calls_that_fill_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    tally, hanging, submitted = Tally(), Hanging(), threading.Event()
    background = Background(tally=tally, capacity=1)
    background.submit("x", hanging, None)
    assert hanging.entered.wait(WAIT)
    background.submit("x", lambda: None, None)
    submit = background.submit

    def submit_and_tell(*arguments: Any) -> None:
        submit(*arguments)
        submitted.set()

    monkeypatch.setattr(background, "submit", submit_and_tell)
    answers: list[bool] = []
    flushing = threading.Thread(target=lambda: answers.append(background.flush(2.0)))
    flushing.start()
    submitted.wait(0.2)
    hanging.gate.set()
    flushing.join(WAIT)
    assert answers == [True]
    assert tally.read() == {}


def test_flush_gives_up_after_its_bound() -> None:
    background, hanging = Background(tally=Tally()), Hanging()
    background.submit("x", hanging, None)
    assert background.flush(0.05) is False
    hanging.gate.set()
    assert background.flush(WAIT)


def test_without_a_call_there_is_no_thread_and_nothing_to_wait_for() -> None:
    assert Background(tally=Tally()).flush(0.0)


def test_an_idle_thread_ends_and_the_next_call_starts_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background_module, "_IDLE", 0.01)
    background, threads = Background(tally=Tally()), list[threading.Thread]()
    for _ in range(2):
        done = threading.Event()

        def call(done: threading.Event = done) -> None:
            threads.append(threading.current_thread())
            done.set()

        background.submit("x", call, None)
        assert done.wait(WAIT)
        threads[-1].join(WAIT)
        assert not threads[-1].is_alive()
        assert background.flush(0.0)
    assert threads[0] is not threads[1]


class LateQueue(SimpleQueue[Any]):
    """Seems empty once, as a queue does whose next item comes at the last moment."""

    seemed_empty = False

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not self.seemed_empty:
            self.seemed_empty = True
            raise Empty
        return super().get(block, timeout)


def test_a_call_that_comes_at_the_last_moment_is_made() -> None:
    background, done = Background(tally=Tally()), threading.Event()
    background._queue = queue = LateQueue()
    background.submit("x", done.set, None)
    assert done.wait(WAIT)
    assert queue.seemed_empty


def test_a_child_begins_with_an_empty_queue_and_a_free_lock() -> None:
    background, hanging, seen = Background(tally=Tally()), Hanging(), list[str]()
    background.submit("x", hanging, None)
    assert hanging.entered.wait(WAIT)
    background.submit("x", lambda: seen.append("parent"), None)
    parents = background._queue
    with background._lock:
        background.after_fork()
        background.submit("x", lambda: seen.append("child"), None)
        assert background.flush(WAIT)
    assert seen == ["child"]
    assert parents.qsize() == 1
    hanging.gate.set()


def test_where_no_thread_can_be_started_the_flow_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    tally, done = Tally(), threading.Event()
    background = Background(tally=tally)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    background.submit("x", done.set, None)
    monkeypatch.undo()
    assert tally.read() == {(signals.PROCESS_FAILURES, "background"): 1}
    background.submit("x", lambda: None, None)
    assert background.flush(WAIT)
    assert done.is_set()
