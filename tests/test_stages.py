"""Stages: a child span, a duration and the stage of what is said inside; harmless to the code."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prefect import flow

from prefect_otel_status import runs, signals, stage, status
from prefect_otel_status.binding import bind
from prefect_otel_status.model import Run, StageEnd, StageStart
from tests.support.hostile import SECRETS, VALUES, RaisingText
from tests.support.records import FLOW_RUN_ID, NOW, SECOND, flow_run
from tests.support.telling import Told, a_flow_run, is_safe, span_of

Tell = Callable[..., Told]


@flow
def train() -> None:
    """The flow of these tests."""


class OwnError(Exception):
    """The flow's own."""


class UnspeakableError(Exception):
    """Raises when it is asked for its words."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@stage("inside")
def decorated(number: int, *, twice: bool = False) -> int:
    """Its own docstring."""
    status("in a function")
    return 2 * number if twice else number


@stage("inside")
async def decorated_async(number: int) -> int:
    await asyncio.sleep(0)
    status("in a coroutine")
    return number


@stage("inside")
def decorated_generator(items: list[int]) -> Generator[int, Any, str]:
    for item in items:
        got = yield item
        status("in a generator", got=got)
    return "returned"


@stage("inside")
async def decorated_async_generator(items: list[int]) -> AsyncGenerator[int, Any]:
    for item in items:
        status("in an async generator")
        yield item


def opened(told: Told, name: str, *, run: Run | None = None) -> StageStart:
    """What is told when the stage NAME opens at `NOW`: with the ids of its span."""
    return StageStart(name, run, NOW, *ids_of(told, name))


def closed(
    told: Told,
    name: str,
    result: str,
    seconds: int = 0,
    *,
    run: Run | None = None,
    bound: dict[str, Any] | None = None,
) -> StageEnd:
    """What is told when it closes SECONDS later."""
    end = NOW + seconds * SECOND
    return StageEnd(name, seconds, result, run, bound or {}, NOW, end, *ids_of(told, name))


def ids_of(told: Told, name: str) -> tuple[int, int]:
    """The ids of the span NAME and of its parent, 0 without one."""
    span = told.spans[name]
    return span.context.span_id, span.parent.span_id if span.parent else 0


# --- what a stage tells -------------------------------------------------------


def test_a_stage_is_told_whole(told: Told) -> None:
    evaluate = stage("evaluate", dataset="digits", rows=3, nothing=None)
    with told.run_of(train), bind(environment="prod"), evaluate:
        status("Scored {model}", model="bert", progress=0.5)
        told.clock.now += 2 * SECOND
    spans = told.spans
    assert span_of(spans["evaluate"]) == {
        "name": "evaluate",
        "kind": "INTERNAL",
        "status": ("UNSET", None),
        "attributes": {
            "dataset": "digits",
            "rows": 3,
            "deployment.environment.name": "prod",
            "cicd.pipeline.name": "train",
            "cicd.pipeline.run.id": FLOW_RUN_ID,
            "prefect_status.stage": "evaluate",
            "cicd.pipeline.result": "success",
            "prefect_status.message": "Scored bert",
            "prefect_status.progress": 0.5,
        },
        "events": [
            (
                "Scored {model}",
                {
                    "model": "bert",
                    "prefect_status.message": "Scored bert",
                    "prefect_status.template": "Scored {model}",
                    "prefect_status.level": "info",
                    "prefect_status.stage": "evaluate",
                    "prefect_status.progress": 0.5,
                    "prefect_status.sequence": 1,
                    "prefect_status.attempt": 1,
                },
            )
        ],
        "links": 0,
    }
    assert spans["evaluate"].parent == spans["RUN train"].context
    assert spans["evaluate"].end_time == NOW + 2 * SECOND
    bound = {"deployment.environment.name": "prod"}
    assert told.stages == [closed(told, "evaluate", "success", 2, run=flow_run(), bound=bound)]
    assert told.of(StageStart) == [opened(told, "evaluate", run=flow_run())]


def test_a_stage_outside_a_run_is_told_too(told: Told) -> None:
    with stage("alone"):
        status("said")
    assert [(said.stage, said.run) for said in told.statuses] == [("alone", None)]
    assert told.stages == [closed(told, "alone", "success")]
    assert told.of(StageStart) == []
    assert told.spans["alone"].parent is None


def test_stages_nest(told: Told) -> None:
    with told.run_of(train), stage("outer"):
        with stage("inner"):
            status("innermost")
        status("outside")
    spans = told.spans
    assert spans["inner"].parent == spans["outer"].context
    assert spans["outer"].parent == spans["RUN train"].context
    assert [(said.message, said.stage) for said in told.statuses] == [
        ("innermost", "inner"),
        ("outside", "outer"),
    ]
    assert [ended.stage for ended in told.stages] == ["inner", "outer"]


def test_the_opening_of_a_stage_is_told_before_what_is_said_inside(told: Told) -> None:
    with told.run_of(train), stage("outer"), stage("inner"):
        status("said")
        before = [type(record).__name__ for record in told.of(object)]
    assert before == ["StageStart", "StageStart", "Status"]
    assert told.of(StageStart) == [
        opened(told, "outer", run=flow_run()),
        opened(told, "inner", run=flow_run()),
    ]


def test_a_stage_whose_span_is_not_sampled_is_told_with_its_ids_all_the_same(tell: Tell) -> None:
    told = tell(sampler=ALWAYS_OFF)
    with told.run_of(train), stage("load"):
        pass
    (start,), (end,) = told.of(StageStart), told.stages
    assert start.span_id == end.span_id != 0
    assert start.parent_span_id == end.parent_span_id != 0
    assert told.spans == {}


def test_a_secret_in_the_name_of_a_stage_is_not_told(told: Told) -> None:
    with told.run_of(train), stage("password=hunter22"):
        pass
    assert [start.stage for start in told.of(StageStart)] == ["password=[redacted]"]
    assert [end.stage for end in told.stages] == ["password=[redacted]"]


def test_the_same_stage_may_be_entered_inside_itself(told: Told) -> None:
    same = stage("same")
    with same, same:
        status("said")
    inner, outer = told.exporter.get_finished_spans()
    assert (inner.name, outer.name, inner.parent) == ("same", "same", outer.context)


def test_a_span_made_inside_hangs_below_it(told: Told) -> None:
    with stage("outer"), told.provider.get_tracer("other").start_as_current_span("other"):
        pass
    spans = told.spans
    assert spans["other"].parent == spans["outer"].context


def test_a_stage_in_a_run_without_a_current_span_hangs_below_the_run(told: Told) -> None:
    with told.run_of(train) as run:
        token = context_api.attach(context_api.Context())
        with stage("bare"):
            pass
        context_api.detach(token)
    assert told.spans["bare"].parent.span_id == told.spans["RUN train"].context.span_id
    assert str(run.id) == FLOW_RUN_ID


async def test_a_stage_may_be_entered_in_async_code(told: Told) -> None:
    async with stage("async"):
        await asyncio.sleep(0)
        status("said")
    assert [said.stage for said in told.statuses] == ["async"]
    assert told.stages == [closed(told, "async", "success")]


def test_without_span_events_a_stage_has_none(tell: Tell) -> None:
    told = tell(span_events=False)
    with stage("quiet"):
        status("said")
    assert span_of(told.spans["quiet"])["events"] == []


def test_a_late_status_does_not_end_after_its_stage(told: Told) -> None:
    with stage("late"):
        told.clock.now += SECOND
        status("from the future")
        told.clock.now -= SECOND
    assert told.spans["late"].end_time == NOW + SECOND
    assert [ended.duration for ended in told.stages] == [0.0]


def test_a_clock_that_goes_backwards_makes_no_negative_duration(told: Told) -> None:
    with stage("odd"):
        told.clock.now -= 3600 * SECOND
    assert [ended.duration for ended in told.stages] == [0.0]


# --- exceptions ---------------------------------------------------------------


def test_an_exception_marks_the_stage_and_passes_as_the_same_object(told: Told) -> None:
    error = OwnError("password=hunter22")
    with pytest.raises(OwnError) as caught, stage("failing"):
        raise error
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    found = span_of(told.spans["failing"])
    assert found["status"] == ("ERROR", f"{__name__}.OwnError: password=[redacted]")
    assert found["attributes"]["error.type"] == f"{__name__}.OwnError"
    assert found["attributes"]["cicd.pipeline.result"] == "failure"
    ((name, exception),) = found["events"]
    assert (name, exception["exception.message"]) == ("exception", "password=[redacted]")
    assert "hunter22" not in repr(found)
    assert told.stages == [closed(told, "failing", "failure")]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_an_interruption_marks_the_stage_and_passes(told: Told, error: BaseException) -> None:
    with pytest.raises(type(error)), stage("interrupted"):
        raise error
    assert [ended.result for ended in told.stages] == ["failure"]
    assert told.spans["interrupted"].status.status_code is trace.StatusCode.ERROR


def test_an_exception_that_cannot_say_itself_marks_the_stage_all_the_same(told: Told) -> None:
    with pytest.raises(UnspeakableError), stage("failing"):
        raise UnspeakableError
    found = span_of(told.spans["failing"])
    assert found["status"][0] == "ERROR"
    assert found["attributes"]["error.type"] == f"{__name__}.UnspeakableError"


async def test_an_exception_in_async_code_passes(told: Told) -> None:
    with pytest.raises(OwnError):
        async with stage("failing"):
            raise OwnError
    assert told.stages == [closed(told, "failing", "failure")]


# --- decorators ---------------------------------------------------------------


def test_a_function_keeps_its_name_and_result(told: Told) -> None:
    assert (decorated.__name__, decorated.__doc__) == ("decorated", "Its own docstring.")
    assert decorated(2, twice=True) == 4
    assert [(said.message, said.stage) for said in told.statuses] == [("in a function", "inside")]


async def test_a_coroutine_function_stays_one(told: Told) -> None:
    assert asyncio.iscoroutinefunction(decorated_async)
    assert await decorated_async(2) == 2
    assert [(said.message, said.stage) for said in told.statuses] == [("in a coroutine", "inside")]


def test_a_generator_is_sent_values_and_returns(told: Told) -> None:
    running = decorated_generator([1, 2])
    assert [next(running), running.send("a")] == [1, 2]
    with pytest.raises(StopIteration) as stopped:
        running.send("b")
    assert stopped.value.value == "returned"
    assert [(said.attributes, said.stage) for said in told.statuses] == [
        ({"got": "a"}, "inside"),
        ({"got": "b"}, "inside"),
    ]
    assert [ended.result for ended in told.stages] == ["success"]


def test_a_generator_that_is_closed_early_has_not_failed(told: Told) -> None:
    running = decorated_generator([1, 2])
    next(running)
    running.close()
    assert told.stages == [closed(told, "inside", "success")]


def test_a_generator_closed_in_another_context_ends_its_stage(told: Told) -> None:
    running = decorated_generator([1, 2])
    before = context_api.get_current()
    inside = contextvars.copy_context()
    inside.run(next, running)
    contextvars.copy_context().run(running.close)
    assert context_api.get_current() is before
    assert runs.current_scope() is None
    assert told.stages == [closed(told, "inside", "success")]
    assert list(told.spans) == ["inside"]
    assert told.tally(signals.PROCESS_FAILURES) == {}


async def test_an_async_generator_stays_one(told: Told) -> None:
    assert [item async for item in decorated_async_generator([1, 2])] == [1, 2]
    assert [said.stage for said in told.statuses] == ["inside", "inside"]
    assert [ended.result for ended in told.stages] == ["success"]


async def test_an_async_generator_closed_in_another_context_ends_its_stage(told: Told) -> None:
    running = decorated_async_generator([1, 2])

    async def first() -> int:
        return await anext(running)

    async def close() -> None:
        await running.aclose()

    assert await asyncio.create_task(first()) == 1
    await asyncio.create_task(close())
    assert told.stages == [closed(told, "inside", "success")]
    assert runs.current_scope() is None
    assert told.tally(signals.PROCESS_FAILURES) == {}


async def test_an_async_generator_is_sent_values(told: Told) -> None:
    got: list[Any] = []

    @stage("inside")
    async def asking() -> AsyncGenerator[int, Any]:
        got.append((yield 1))
        got.append((yield 2))

    running = asking()
    assert await anext(running) == 1
    assert await running.asend("a") == 2
    await running.aclose()
    assert got == ["a"]


async def test_an_async_generator_is_closed_with_its_stage(told: Told) -> None:
    closed: list[str] = []

    @stage("inside")
    async def cleaning() -> AsyncGenerator[int, Any]:
        try:
            yield 1
        finally:
            closed.append("inner")

    running = cleaning()
    await anext(running)
    await running.aclose()
    assert closed == ["inner"]


def test_what_a_decorated_function_raises_passes(told: Told) -> None:
    error = OwnError()

    @stage("failing")
    def refuse() -> None:
        raise error

    with pytest.raises(OwnError) as caught:
        refuse()
    assert caught.value is error
    assert told.stages == [closed(told, "failing", "failure")]


# --- bad input and faults -----------------------------------------------------


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_hostile_name_or_attribute_harms_nothing(told: Told, value: Any) -> None:
    with stage(value, value=value):
        status("said")
    (span,) = told.exporter.get_finished_spans()
    assert is_safe([told.stages, told.statuses, list(span_of(span).items())])
    assert len(span.name) <= 200
    assert told.tally(signals.PROCESS_FAILURES) == {}


@pytest.mark.parametrize("kind", ["jwt", "password", "url_credentials"])
def test_a_secret_in_a_name_is_taken_out(told: Told, kind: str) -> None:
    with stage(SECRETS[kind], key=SECRETS[kind]):
        status("said")
    seen = repr([span_of(span) for span in told.exporter.get_finished_spans()])
    assert SECRETS[kind] not in seen + repr(told.statuses) + repr(told.stages)


def test_disabled_a_stage_does_nothing(tell: Tell) -> None:
    told = tell(enabled=False)
    with stage("off") as entered:
        assert isinstance(entered, stage)
        assert runs.current_scope() is None
    assert told.of(object) == []
    assert told.exporter.get_finished_spans() == ()


def test_a_stage_that_cannot_be_opened_lets_the_code_run(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Any:
        raise RuntimeError("no tracer")

    monkeypatch.setattr(told.runtime, "tracer", refuse)
    with stage("unopened"):
        status("said")
    assert [(said.message, said.stage) for said in told.statuses] == [("said", None)]
    assert told.tally(signals.PROCESS_FAILURES) == {"stage_start": 1}


def test_leaving_a_stage_that_was_not_entered_harms_nothing(told: Told) -> None:
    stage("never").__exit__(None, None, None)
    assert told.of(object) == []


def test_a_stage_around_a_hook_stays_forced_to_the_hooks_run(told: Told) -> None:
    from prefect.states import Running

    from prefect_otel_status.hooks import FlowHook

    def speak(obj: Any, old_state: Any, new_state: Any) -> None:
        with stage("in the handler"):
            status("said")

    child = a_flow_run(id="00000000-0000-0000-0000-000000000007", name="child")
    with told.run_of(train):
        FlowHook(speak)(train, child, Running())
    (said,) = told.statuses
    assert (said.stage, said.run.id if said.run else None) == ("in the handler", str(child.id))


def test_an_attribute_that_cannot_be_shown_is_shown_as_such(told: Told) -> None:
    with stage("odd", value=RaisingText()):
        pass
    assert told.spans["odd"].attributes["value"] == "<unprintable> RaisingText"
