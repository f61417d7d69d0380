"""Threads that a run starts speak for that run; others do not, and nothing of Prefect's travels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import wrapt
from opentelemetry import trace
from prefect import flow
from prefect.context import FlowRunContext

from prefect_otel_status import bind, signals, stage, status, threads
from tests.support.records import flow_run
from tests.support.telling import WAIT, Told

Tell = Callable[..., Told]


@flow
def train() -> None:
    """The flow of these tests."""


@pytest.fixture(autouse=True)
def carrying() -> Iterator[None]:
    """Threads are given what they must know."""
    threads.install()
    yield
    threads.remove()


def in_thread(call: Callable[..., Any], *arguments: Any) -> None:
    """CALL in a thread, to its end."""
    thread = threading.Thread(target=call, args=arguments)
    thread.start()
    thread.join(WAIT)


# --- what is carried over -----------------------------------------------------


def test_a_thread_speaks_for_the_run_and_stage_that_started_it(told: Told) -> None:
    with told.run_of(train), stage("load"):
        in_thread(status, "in a thread")
        here = trace.get_current_span().get_span_context()
    (said,) = told.statuses
    assert (said.run, said.stage, said.span_id) == (flow_run(), "load", here.span_id)


def test_spans_made_in_a_thread_hang_below_the_run(told: Told) -> None:
    def work() -> None:
        with told.provider.get_tracer("other").start_as_current_span("other"):
            pass

    with told.run_of(train):
        in_thread(work)
    spans = told.spans
    assert spans["other"].parent == spans["RUN train"].context


def test_a_thread_does_not_see_prefects_own_context(told: Told) -> None:
    seen: list[Any] = []
    with told.run_of(train):
        in_thread(lambda: seen.append(FlowRunContext.get()))
    assert seen == [None]


def test_a_pool_speaks_for_whoever_submits(told: Told) -> None:
    with ThreadPoolExecutor(1) as pool:
        with told.run_of(train), bind(model="bert"):
            assert pool.submit(status, "of the run", number=1).result(WAIT).message == "of the run"
        pool.submit(status, "of no run").result(WAIT)
    assert [(said.message, said.run, said.bound) for said in told.statuses] == [
        ("of the run", flow_run(), {"model.name": "bert"}),
        ("of no run", None, {}),
    ]


def test_a_pool_that_outlives_its_run_forgets_the_runs_span(told: Told) -> None:
    with ThreadPoolExecutor(1) as pool:
        with told.run_of(train):
            pool.submit(status, "of the run").result(WAIT)
        pool.submit(status, "of no run").result(WAIT)
    assert [(said.message, said.trace_id) for said in told.statuses][1:] == [("of no run", 0)]


def test_a_thread_started_outside_a_run_knows_of_none(told: Told) -> None:
    in_thread(status, "alone")
    assert [(said.run, said.trace_id) for said in told.statuses] == [(None, 0)]


def test_a_thread_of_an_own_class_starts_as_it_is(told: Told) -> None:
    ran: list[str] = []

    class Own(threading.Thread):
        def run(self) -> None:
            ran.append(self.name)

    with told.run_of(train):
        thread = Own(name="own")
        thread.start()
        thread.join(WAIT)
    assert ran == ["own"]


# --- harmless -----------------------------------------------------------------


def test_what_a_thread_raises_is_the_pools_to_tell(told: Told) -> None:
    error = ValueError("as it was raised")

    def refuse() -> None:
        raise error

    with told.run_of(train), ThreadPoolExecutor(1) as pool:
        assert pool.submit(refuse).exception(WAIT) is error


def test_a_submission_without_a_call_is_the_callers_error(told: Told) -> None:
    with told.run_of(train), ThreadPoolExecutor(1) as pool, pytest.raises(TypeError):
        pool.submit()  # type: ignore[call-arg]


def test_a_failure_of_ours_starts_the_thread_all_the_same(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Any:
        raise RuntimeError("no")

    ran: list[int] = []
    monkeypatch.setattr(told.runtime.registry, "scope", refuse)
    in_thread(ran.append, 1)
    assert ran == [1]
    assert told.tally(signals.PROCESS_FAILURES) == {"thread": 1}


def test_it_is_installed_once_and_taken_out_whole() -> None:
    threads.remove()
    before = [owner.__dict__[name] for owner, name, _ in threads._PLACES]
    threads.install()
    threads.install()
    threads.remove()
    threads.remove()
    assert [owner.__dict__[name] for owner, name, _ in threads._PLACES] == before


def test_beside_another_instrumentation_of_threads_it_carries_and_leaves_that_in_place(
    told: Told,
) -> None:
    threads.remove()
    plain, started = threading.Thread.__dict__["start"], []

    def other(wrapped: Any, instance: Any, arguments: Any, named: Any) -> Any:
        started.append(instance.name)
        return wrapped(*arguments, **named)

    wrapt.wrap_function_wrapper(threading.Thread, "start", other)
    theirs = threading.Thread.__dict__["start"]
    try:
        threads.install()
        with told.run_of(train):
            in_thread(status, "in a thread")
        threads.remove()
        assert threading.Thread.__dict__["start"] is theirs
        assert [said.run for said in told.statuses] == [flow_run()]
    finally:
        threading.Thread.start = plain  # type: ignore[method-assign]
