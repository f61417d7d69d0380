"""State hooks: every change of state once, the user's own hooks, the classic handler."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.states import Completed, Crashed, Failed, Pending, Running, State

from prefect_otel_status import flow_hooks, runs, signals, stage, status, task_hooks
from prefect_otel_status.hooks import FlowHook, OwnHook, TaskHook, with_ours
from prefect_otel_status.ids import trace_id_of
from prefect_otel_status.model import Run, Transition
from tests.support.hostile import VALUES
from tests.support.records import FLOW_RUN_ID, flow_run, task_run
from tests.support.telling import Told, a_flow_run, a_task_run, in_task

Tell = Callable[..., Told]

WHEN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)
"""The time of the states here, which is that of the fixed clock."""

FLOW_RUN = UUID(FLOW_RUN_ID)


@flow
def train() -> None:
    """The flow of these tests."""


@task
def score() -> None:
    """Its task."""


def at(state: State[Any], seconds: float = 0.0) -> State[Any]:
    """STATE, so many SECONDS after the beginning."""
    return state.model_copy(update={"timestamp": WHEN + timedelta(seconds=seconds)})


def page_me(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook of the user's."""


def log_it(task: Any, task_run: Any, state: Any) -> None:
    """Another one."""


def handler(obj: Any, old_state: Any, new_state: Any) -> None:
    """A classic handler."""


class Classic:
    """A classic handler that keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None, str]] = []

    def __call__(self, obj: Any, old_state: Any, new_state: Any) -> None:
        self.calls.append((obj.name, old_state.name, new_state.name))


# --- the arguments of the decorators ------------------------------------------


def test_every_state_of_a_flow_gets_our_hook(told: Told) -> None:
    assert flow_hooks() == {
        "on_running": [FlowHook()],
        "on_completion": [FlowHook()],
        "on_failure": [FlowHook()],
        "on_crashed": [FlowHook()],
        "on_cancellation": [FlowHook()],
    }


def test_every_state_of_a_task_gets_our_hook(told: Told) -> None:
    assert task_hooks(handler=handler) == {
        "on_running": [TaskHook(handler)],
        "on_completion": [TaskHook(handler)],
        "on_failure": [TaskHook(handler)],
    }


def test_own_hooks_are_taken_along_and_come_first(told: Told) -> None:
    of_flow, of_task = flow_hooks(on_failure=[page_me]), task_hooks(on_failure=(log_it,))
    assert of_flow["on_failure"] == [OwnHook(page_me), FlowHook()]
    assert of_task["on_failure"] == [log_it, TaskHook()]
    assert of_flow["on_running"] == [FlowHook()]


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (
            flow_hooks,
            "on_failed",
            "flow_hooks() got 'on_failed', which is no hook of a flow; use on_running, "
            "on_completion, on_failure, on_crashed, on_cancellation.",
        ),
        (
            task_hooks,
            "on_crashed",
            "task_hooks() got 'on_crashed', which is no hook of a task; use on_running, "
            "on_completion, on_failure.",
        ),
    ],
)
def test_an_unknown_hook_is_named_with_what_to_use(
    make: Callable[..., Any], name: str, words: str
) -> None:
    with pytest.raises(TypeError) as error:
        make(**{name: [page_me]})
    assert str(error.value) == words


def test_hooks_are_ours_once_however_often_they_are_added(told: Told) -> None:
    hooks = flow_hooks(handler=handler, on_failure=[page_me])["on_failure"]
    assert with_ours(hooks, "flow") == hooks == [OwnHook(page_me), FlowHook(handler)]
    assert with_ours(hooks, "flow", log_it) == [OwnHook(page_me), FlowHook(log_it)]
    assert with_ours(None, "task") == [TaskHook()]


def test_with_options_keeps_our_hook_once(told: Told) -> None:
    from prefect_otel_status import instrument

    made = flow(**flow_hooks(handler=handler, on_failure=[page_me]))(train.fn)
    instrument()
    copied = made.with_options(name="other").with_options(retries=1)
    assert copied.on_failure_hooks == [OwnHook(page_me), FlowHook(handler)]
    made_task = task(**task_hooks())(score.fn).with_options(name="other")
    assert made_task.on_completion_hooks == [TaskHook()]


def test_disabled_they_leave_prefect_alone(tell: Tell) -> None:
    import prefect.telemetry.run_telemetry as run_telemetry

    before = run_telemetry.get_tracer
    tell(enabled=False)
    assert flow_hooks()["on_running"] == [FlowHook()]
    assert run_telemetry.get_tracer is before


@pytest.mark.parametrize("hook", [FlowHook(), FlowHook(handler), TaskHook(handler)])
def test_a_hook_survives_a_pickle(told: Told, hook: Any) -> None:
    copied = pickle.loads(pickle.dumps(hook))
    assert copied == hook
    assert hash(copied) == hash(hook)
    assert copied.__name__ == signals.HOOK_NAME


def test_an_own_hook_survives_a_pickle_and_is_what_it_was() -> None:
    copied = pickle.loads(pickle.dumps(OwnHook(page_me)))
    assert copied == OwnHook(page_me) == page_me
    assert hash(copied) == hash(page_me)
    assert (copied.__name__, copied.__doc__) == ("page_me", "A hook of the user's.")
    assert OwnHook(page_me) != OwnHook(log_it)


def test_hooks_of_two_kinds_or_handlers_differ() -> None:
    assert FlowHook() != TaskHook()
    assert FlowHook(handler) != FlowHook()
    assert FlowHook() != page_me


# --- transitions --------------------------------------------------------------


def test_a_flows_transitions_are_told_whole(told: Told) -> None:
    run, hook = a_flow_run(start_time=WHEN), FlowHook()
    running, failed = at(Running()), at(Failed(message="Flow run encountered an exception"), 2.5)
    failed.data = ValueError("words")
    hook(train, run, running)
    hook(flow=train, flow_run=run, state=failed)
    trace_id = trace_id_of(FLOW_RUN_ID)
    assert told.transitions == [
        Transition(
            run=flow_run(),
            state_id=str(running.id),
            state_type="RUNNING",
            state_name="Running",
            attempt=1,
            timestamp=told.clock.now,
            trace_id=trace_id,
        ),
        Transition(
            run=flow_run(),
            state_id=str(failed.id),
            state_type="FAILED",
            state_name="Failed",
            message="Flow run encountered an exception",
            previous="Running",
            attempt=1,
            timestamp=told.clock.now + 2_500_000_000,
            duration=2.5,
            result="failure",
            error_type="ValueError",
            trace_id=trace_id,
        ),
    ]
    assert told.statuses == []


def test_a_tasks_transitions_are_told_whole(told: Told) -> None:
    run, state = a_task_run(start_time=WHEN, run_count=2), at(Completed(name="Cached"), 1)
    with told.run_of(train), in_task(score, run):
        TaskHook()(score, run, state)
    (found,) = told.transitions
    assert found == Transition(
        run=task_run(),
        state_id=str(state.id),
        state_type="COMPLETED",
        state_name="Cached",
        attempt=2,
        timestamp=told.clock.now + 1_000_000_000,
        duration=1.0,
        result="skip",
    )


@pytest.mark.fault(25)
def test_running_twice_is_one_transition(told: Told) -> None:
    run, state, classic = a_flow_run(), at(Running()), Classic()
    hook = FlowHook(classic)
    hook(train, run, state)
    hook(train, run, state.model_copy())
    assert [found.state_name for found in told.transitions] == ["Running"]
    assert classic.calls == [("train", None, "Running")]


@pytest.mark.parametrize(("run", "state"), [(a_flow_run(), None), (None, Running()), (None, None)])
def test_without_a_run_or_a_state_there_is_nothing_to_tell(
    told: Told, run: Any, state: Any
) -> None:
    FlowHook()(train, run, state)
    assert told.of(object) == []
    assert told.tally(signals.PROCESS_FAILURES) == {}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_state_that_is_none_of_prefects_harms_nothing(told: Told, name: str) -> None:
    FlowHook()(train, a_flow_run(), VALUES[name])
    FlowHook()(train, VALUES[name], Running())
    FlowHook()(VALUES[name], a_flow_run(), Running())
    assert set(told.tally(signals.PROCESS_FAILURES)) <= {"hook", "hook_end"}


def test_disabled_a_hook_tells_nothing(tell: Tell) -> None:
    told = tell(enabled=False)
    FlowHook(handler)(train, a_flow_run(), Running())
    assert told.of(object) == []


@pytest.mark.parametrize(
    ("state", "error_type"),
    [
        (Failed(data=KeyError("a")), "KeyError"),
        (Failed(name="TimedOut"), "TimedOut"),
        (Crashed(data=asyncio.CancelledError()), "asyncio.exceptions.CancelledError"),
        (Crashed(), "Crashed"),
        (Completed(), None),
    ],
)
def test_the_type_of_an_error_is_the_exceptions_or_else_the_states(
    told: Told, state: State[Any], error_type: str | None
) -> None:
    FlowHook()(train, a_flow_run(), state)
    assert [found.error_type for found in told.transitions] == [error_type]


def test_the_type_of_an_error_is_found_in_a_stored_result(told: Told) -> None:
    class Record:
        result = KeyError("a")

    state = Failed()
    state.data = Record()
    FlowHook()(train, a_flow_run(), state)
    assert [found.error_type for found in told.transitions] == ["KeyError"]


def test_a_clock_that_goes_backwards_makes_no_negative_duration(told: Told) -> None:
    FlowHook()(train, a_flow_run(start_time=WHEN), at(Completed(), -3600))
    assert [found.duration for found in told.transitions] == [0.0]


def test_a_duration_falls_back_to_the_spans_own_start(told: Told) -> None:
    with told.run_of(train) as run:
        FlowHook()(train, run, at(Completed(), 2))
    assert [found.duration for found in told.transitions] == [2.0]


def test_a_duration_that_nobody_knows_is_left_out(told: Told) -> None:
    FlowHook()(train, a_flow_run(), at(Completed()))
    assert [found.duration for found in told.transitions] == [None]


# --- the state's own words ----------------------------------------------------


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (Completed(message="Scored {bert}: 93%"), ("Scored {bert}: 93%", "info")),
        (Failed(message="Too few rows"), ("Too few rows", "error")),
        (Failed(message="Flow run encountered an exception: ValueError"), None),
        (Completed(message="All states completed."), None),
        (Crashed(message="Execution was aborted by the runtime."), None),
        (Completed(message=""), None),
        (Completed(message=None), None),
    ],
)
def test_the_authors_words_are_a_status_and_prefects_are_not(
    told: Told, state: State[Any], said: tuple[str, str] | None
) -> None:
    FlowHook()(train, a_flow_run(), state)
    found = [(one.message, one.level) for one in told.statuses]
    assert found == ([] if said is None else [said])
    assert [one.origin for one in told.statuses] == ["state"] * len(found)
    assert [one.run for one in told.statuses] == [flow_run()] * len(found)


# --- the classic handler ------------------------------------------------------


def test_a_handler_is_given_the_state_before(told: Told) -> None:
    classic, run = Classic(), a_flow_run()
    hook = FlowHook(classic)
    for state in (Pending(), Running(), Completed()):
        hook(train, run, state)
    assert classic.calls == [
        ("train", None, "Pending"),
        ("train", "Pending", "Running"),
        ("train", "Running", "Completed"),
    ]


def test_what_a_handler_says_belongs_to_its_run(told: Told) -> None:
    def speak(obj: Any, old_state: Any, new_state: Any) -> None:
        status("{name} is {state}", name=obj.name, state=new_state.name.lower())

    FlowHook(speak)(train, a_flow_run(), Running())
    (said,) = told.statuses
    assert (said.message, said.run, said.trace_id) == (
        "train is running",
        flow_run(),
        trace_id_of(FLOW_RUN_ID),
    )


def test_an_async_handler_is_awaited(told: Told) -> None:
    async def speak(obj: Any, old_state: Any, new_state: Any) -> None:
        await asyncio.sleep(0)
        status("spoken")

    FlowHook(speak)(train, a_flow_run(), Running())
    assert told.messages == ["spoken"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.fault(26)
def test_a_handler_that_raises_is_counted_and_the_run_goes_on(
    told: Told, error: BaseException
) -> None:
    def refuse(obj: Any, old_state: Any, new_state: Any) -> None:
        raise error

    FlowHook(refuse)(train, a_flow_run(), Running())
    assert told.tally(signals.PROCESS_FAILURES) == {"handler": 1}
    assert [found.state_name for found in told.transitions] == ["Running"]


@pytest.mark.fault(26)
def test_a_handler_that_hangs_is_left_behind(tell: Tell) -> None:
    told, gate = tell(handler_timeout=0.05), threading.Event()

    def hang(obj: Any, old_state: Any, new_state: Any) -> None:
        gate.wait(30)

    FlowHook(hang)(train, a_flow_run(), Running())
    gate.set()
    assert told.tally(signals.PROCESS_FAILURES) == {"handler_timeout": 1}
    assert [found.state_name for found in told.transitions] == ["Running"]


# --- own hooks ----------------------------------------------------------------


def test_what_an_own_hook_says_belongs_to_its_run(told: Told) -> None:
    def speak(flow: Any, flow_run: Any, state: Any) -> str:
        status("own hook")
        return "returned"

    assert OwnHook(speak)(flow=train, flow_run=a_flow_run(), state=Running()) == "returned"
    assert [(said.message, said.run) for said in told.statuses] == [("own hook", flow_run())]
    assert runs.current_scope() is None


async def test_what_an_async_own_hook_says_belongs_to_its_run(told: Told) -> None:
    async def speak(flow: Any, flow_run: Any, state: Any) -> str:
        await asyncio.sleep(0)
        status("own hook")
        return "returned"

    assert await OwnHook(speak)(train, a_flow_run(), Running()) == "returned"
    assert [(said.message, said.run) for said in told.statuses] == [("own hook", flow_run())]
    assert runs.current_scope() is None


def test_what_an_own_hook_raises_is_prefects_to_deal_with(told: Told) -> None:
    error = ValueError("as it was raised")

    def refuse(flow: Any, flow_run: Any, state: Any) -> None:
        raise error

    with pytest.raises(ValueError) as caught:  # its identity is checked
        OwnHook(refuse)(train, a_flow_run(), Running())
    assert caught.value is error
    assert runs.current_scope() is None


def test_a_hook_without_a_name_can_be_an_own_hook(told: Told) -> None:
    hook = partial(page_me)
    assert OwnHook(hook)(train, a_flow_run(), Running()) is None


def test_disabled_an_own_hook_is_called_as_it_is(tell: Tell) -> None:
    tell(enabled=False)
    called: list[Any] = []
    OwnHook(lambda *arguments: called.append(arguments))(train, None, None)
    assert called == [(train, None, None)]


def test_an_own_hook_of_a_run_that_is_none_is_called_all_the_same(told: Told) -> None:
    called: list[Any] = []
    OwnHook(lambda *arguments: called.append(arguments))(train, object(), None)
    assert len(called) == 1
    assert told.tally(signals.PROCESS_FAILURES) == {"own_hook": 1}


# --- whose run it is ----------------------------------------------------------


def test_a_subflows_hook_speaks_for_the_subflow_below_its_parent(told: Told) -> None:
    child_id = UUID(int=7)
    child = a_flow_run(id=child_id, name="child", parent_task_run_id=UUID(int=8))
    with told.run_of(train), stage("outer"):
        FlowHook(lambda obj, old, new: status("from the handler"))(train, child, Running())
        status("from the parent")
    child_run = Run("flow", str(child_id), "child", str(child_id), "train")
    assert [(said.message, said.stage, said.run) for said in told.statuses] == [
        ("from the handler", "outer", child_run),
        ("from the parent", "outer", flow_run()),
    ]


def test_a_run_without_a_span_is_let_go_of_at_its_end(told: Told) -> None:
    FlowHook()(train, a_flow_run(), Running())
    handle = told.runtime.registry.find(FLOW_RUN)
    assert handle is not None
    assert handle.context is not None
    FlowHook()(train, a_flow_run(), Completed())
    assert (handle.ended, handle.context, handle.prefect_run) == (True, None, None)
    assert told.runtime.registry.live() == []


def test_a_later_state_of_an_ended_run_is_still_told(told: Told) -> None:
    hook, run = FlowHook(), a_flow_run()
    for state in (Running(), Crashed(), Completed()):
        hook(train, run, state)
    assert [found.state_name for found in told.transitions] == ["Running", "Crashed", "Completed"]


def test_the_end_of_a_top_level_run_passes_everything_on(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(told.runtime, "run_ended", lambda: ended.append("run"))
    hook, run = FlowHook(), a_flow_run()
    hook(train, run, Running())
    assert ended == []
    hook(train, run, Completed())
    assert ended == ["run"]
    with in_task(score, a_task_run()):
        TaskHook()(score, a_task_run(), Completed())
    assert ended == ["run"]
    alone = a_task_run(id=UUID(int=9), flow_run_id=None)
    with in_task(score, alone):
        TaskHook()(score, alone, Completed())
    assert ended == ["run", "run"]


def test_a_tasks_span_ends_with_its_hook(told: Told) -> None:
    scored = task(**task_hooks())(score.fn)
    run = a_task_run()
    telemetry = told.telemetry()
    with told.run_of(train), in_task(scored, run):
        telemetry._start_span(run, {})
        telemetry.update_state(Completed())
        telemetry.end_span_on_success()
        assert told.exporter.get_finished_spans() == ()
        status("said in the terminal hooks")
        scored.on_completion_hooks[-1](scored, run, Completed())
        assert [span.name for span in told.exporter.get_finished_spans()] == ["score"]
    events = {event.name for event in told.spans["score"].events}
    assert events == {"said in the terminal hooks", "Completed"}


def test_the_link_to_the_trace_is_made_where_an_address_is_set(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect_otel_status.sinks import artifact

    links: list[str] = []
    monkeypatch.setattr(artifact, "_create_link", links.append)
    told = tell(trace_url="http://ui/{trace_id}")
    hook = FlowHook()
    with told.run_of(train) as run:
        hook(train, run, Running())
        hook(train, run, Completed())
    assert told.runtime.background.flush(10)
    assert links == [f"http://ui/{trace_id_of(FLOW_RUN_ID):032x}"]


# --- with Prefect's own engine ------------------------------------------------


@pytest.mark.server
@pytest.mark.usefixtures("prefect_here")
def test_prefects_engine_calls_all_of_it(told: Told) -> None:
    async def own(flow: Any, flow_run: Any, state: Any) -> None:
        status("own hook: {state}", state=state.name)

    @task(**task_hooks())
    def step() -> int:
        status("in the task")
        return 1

    @flow(**flow_hooks(handler=_told_states, on_completion=[own]))
    def whole() -> int:
        status("in the flow")
        return step()

    assert whole() == 1
    assert told.messages == [
        "whole: None to Running",
        "in the flow",
        "in the task",
        "own hook: Completed",
        "whole: Running to Completed",
    ]
    assert [(found.run.title, found.state_name) for found in told.transitions] == [
        ("whole", "Running"),
        ("step", "Running"),
        ("step", "Completed"),
        ("whole", "Completed"),
    ]
    assert {said.run.flow_name for said in told.statuses if said.run} == {"whole"}
    assert sorted(told.spans) == ["RUN whole", "step"]
    assert told.tally(signals.PROCESS_FAILURES) == {}


def _told_states(obj: Any, old_state: Any, new_state: Any) -> None:
    status("{name}: {old} to {new}", name=obj.name, old=old_state.name, new=new_state.name)
