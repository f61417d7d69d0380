"""Prefect's spans, mended; and Prefect's own way wherever something of ours fails."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace import Status as SpanStatus
from prefect import flow, task
from prefect.states import Cancelled, Completed, Failed, Running, State

from prefect_otel_status import bind, signals, stage, status, task_hooks
from prefect_otel_status.ids import run_span_id_of, trace_id_of
from prefect_otel_status.runs import RunHandle
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.settings import Settings
from prefect_otel_status.spans import RunSpan, RunTracer, is_final, span_name
from tests.support.hostile import SECRETS, VALUES
from tests.support.records import FLOW_RUN_ID, NOW, SECOND, TASK_RUN_ID, flow_run, task_run
from tests.support.telling import Told, a_flow_run, a_task_run, in_task, is_safe, span_of

Tell = Callable[..., Told]
FLOW_RUN, TASK_RUN = UUID(FLOW_RUN_ID), UUID(TASK_RUN_ID)
OURS = trace_id_of(FLOW_RUN_ID)
LABEL = signals.TRACEPARENT_LABEL


@flow
def train() -> None:
    """The flow of these tests."""


@task
def score() -> None:
    """Its task."""


@task(**task_hooks())
def hooked() -> None:
    """A task with hooks of ours."""


def handle_of(told: Told, run_id: UUID = FLOW_RUN) -> RunHandle:
    found = told.runtime.registry.find(run_id)
    assert found is not None
    return found


def attributes_for(run_id: Any = FLOW_RUN_ID, kind: str = "flow") -> dict[str, Any]:
    """What Prefect gives the span of a run."""
    return {"prefect.run.id": run_id, "prefect.run.type": kind, "prefect.run.name": "wise-owl"}


def tracer(told: Told) -> RunTracer:
    return RunTracer(told.provider.get_tracer("prefect"), told.runtime)


def state_event(span: RunSpan, state: State[Any]) -> None:
    """Enter STATE as Prefect does."""
    span.add_event(
        state.name or "",
        {
            "prefect.state.message": state.message or "",
            "prefect.state.type": state.type,
            "prefect.state.name": state.name or "",
            "prefect.state.id": str(state.id),
        },
    )


# --- whole spans --------------------------------------------------------------


def test_a_flow_runs_span_is_whole(told: Told) -> None:
    with told.run_of(train, tags=["a"], labels={"own": "label"}, run_count=1) as run:
        with bind(model="bert"):
            status("said", progress=0.5)
        assert trace.get_current_span().get_span_context().trace_id == OURS
    span = told.spans["RUN train"]
    assert span_of(span) == {
        "name": "RUN train",
        "kind": "SERVER",
        "status": ("OK", None),
        "attributes": {
            "prefect.run.name": "wise-owl",
            "prefect.run.type": "flow",
            "prefect.run.id": FLOW_RUN_ID,
            "prefect.tags": ("a",),
            "own": "label",
            "model.name": "bert",
            "cicd.pipeline.name": "train",
            "cicd.pipeline.run.id": FLOW_RUN_ID,
            "prefect_status.attempt": 1,
            "prefect_status.message": "said",
            "prefect_status.progress": 0.5,
        },
        "events": [
            (
                "said",
                {
                    "prefect_status.message": "said",
                    "prefect_status.template": "said",
                    "prefect_status.level": "info",
                    "prefect_status.progress": 0.5,
                    "prefect_status.sequence": 1,
                    "prefect_status.attempt": 1,
                },
            )
        ],
        "links": 0,
    }
    assert (span.parent, span.context.trace_id) == (None, OURS)
    assert run.labels[LABEL] == f"00-{OURS:032x}-{span.context.span_id:016x}-01"


def test_a_task_runs_span_is_below_its_flow_run(told: Told) -> None:
    run = a_task_run()
    telemetry = told.telemetry()
    with told.run_of(train), in_task(score, run):
        telemetry._start_span(run, {"rows": [1]})
        telemetry.update_state(Running())
        telemetry.update_state(Completed(message="password=hunter22"))
        telemetry.end_span_on_success()
    spans = told.spans
    found = span_of(spans["score"])
    events = [(name, values["prefect.state.message"]) for name, values in found.pop("events")]
    assert events == [("Running", ""), ("Completed", "password=[redacted]")]
    assert found == {
        "name": "score",
        "kind": "INTERNAL",
        "status": ("OK", None),
        "attributes": {
            "prefect.run.name": "score-0",
            "prefect.run.type": "task",
            "prefect.run.id": TASK_RUN_ID,
            "prefect.tags": (),
            "prefect.run.parameter.rows": "list",
            "cicd.pipeline.name": "train",
            "cicd.pipeline.run.id": FLOW_RUN_ID,
            "cicd.pipeline.task.name": "score",
            "cicd.pipeline.task.run.id": TASK_RUN_ID,
            "cicd.pipeline.task.run.result": "success",
            "prefect_status.attempt": 1,
        },
        "links": 0,
    }
    assert spans["score"].parent.span_id == spans["RUN train"].context.span_id


@pytest.mark.parametrize(
    ("state", "code", "result", "error_type"),
    [
        (Completed(), "OK", "success", None),
        (Failed(), "ERROR", "failure", "Failed"),
        (Cancelled(), "OK", "cancellation", None),
    ],
)
def test_a_flow_runs_result_is_that_of_its_state(
    told: Told, state: State[Any], code: str, result: str, error_type: str | None
) -> None:
    telemetry = told.telemetry()
    telemetry._start_span(a_flow_run(), {})
    telemetry.update_state(Running())
    telemetry.update_state(state)
    telemetry.end_span_on_success()
    found = span_of(told.spans["RUN"])
    assert found["status"][0] == code
    assert found["attributes"]["cicd.pipeline.result"] == result
    assert found["attributes"].get("error.type") == error_type


def test_an_exceptions_words_are_safe_wherever_prefect_puts_them(told: Told) -> None:
    telemetry = told.telemetry()
    telemetry._start_span(a_flow_run(), {})
    telemetry.record_exception(ValueError("password=hunter22"))
    telemetry.update_state(Failed(message="password=hunter22"))
    telemetry.end_span_on_failure("password=hunter22")
    found = span_of(told.spans["RUN"])
    assert "hunter22" not in repr(found)
    assert found["status"] == ("ERROR", "password=[redacted]")
    assert found["attributes"]["error.type"] == "ValueError"
    assert found["attributes"]["cicd.pipeline.result"] == "failure"
    exception = dict(found["events"])["exception"]
    assert (exception["exception.type"], exception["exception.message"]) == (
        "ValueError",
        "password=[redacted]",
    )


# --- where a span belongs -----------------------------------------------------


@pytest.mark.fault(28)
def test_a_run_that_goes_on_in_another_process_links_to_its_first_span(told: Told) -> None:
    label = f"00-{OURS:032x}-00000000000000aa-01"
    with told.run_of(train, labels={LABEL: label}):
        pass
    span = told.spans["RUN train"]
    assert (span.parent, span.context.trace_id) == (None, OURS)
    assert [link.context.span_id for link in span.links] == [0xAA]


def test_a_callers_own_span_is_the_parent(told: Told) -> None:
    with told.provider.get_tracer("other").start_as_current_span("other"), told.run_of(train):
        pass
    spans = told.spans
    assert spans["RUN train"].parent == spans["other"].context


def test_a_run_called_in_a_stage_is_below_the_stage(told: Told) -> None:
    telemetry, run = told.telemetry(), a_task_run()
    with told.run_of(train), stage("evaluate"), in_task(score, run):
        telemetry._start_span(run, {})
        telemetry.end_span_on_success()
    spans = told.spans
    assert spans["score"].parent.span_id == spans["evaluate"].context.span_id


def test_a_task_without_a_current_span_is_below_its_flow_runs_label(told: Told) -> None:
    run = a_task_run()
    with told.run_of(train):
        token = context_api.attach(context_api.Context())
        try:
            with in_task(score, run):
                span = tracer(told).start_span(
                    "score-0",
                    context_api.Context(),
                    attributes=attributes_for(TASK_RUN_ID, "task"),
                )
                span.end()
        finally:
            context_api.detach(token)
    spans = told.spans
    assert spans["score"].parent.span_id == spans["RUN train"].context.span_id


def test_a_task_run_outside_a_flow_is_its_own_root(told: Told) -> None:
    telemetry, run = told.telemetry(), a_task_run(flow_run_id=None)
    with in_task(score, run):
        telemetry._start_span(run, {})
        telemetry.end_span_on_success()
    span = told.spans["score"]
    assert (span.parent, span.context.trace_id) == (None, trace_id_of(TASK_RUN_ID))
    assert "cicd.pipeline.run.id" not in span.attributes


def test_below_a_bridge_each_attempt_is_a_child_of_the_root_that_it_will_make(tell: Tell) -> None:
    told = tell(trace_root="bridge")
    with told.run_of(train, run_count=2):
        status("said")
    span = told.spans["ATTEMPT 2"]
    assert span.kind is SpanKind.INTERNAL
    assert (span.context.trace_id, span.parent.span_id, span.parent.trace_flags) == (
        OURS,
        run_span_id_of(FLOW_RUN_ID),
        TraceFlags(1),
    )


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ALWAYS_ON, TraceIdRatioBased(0.0)])
def test_the_sampler_decides_for_the_whole_trace_below_a_bridge(tell: Tell, sampler: Any) -> None:
    told = tell(trace_root="bridge", sampler=sampler)
    with told.run_of(train):
        status("said")
    sampled = sampler is ALWAYS_ON
    assert [said.sampled for said in told.statuses] == [sampled]
    assert len(told.exporter.get_finished_spans()) == sampled


def test_a_tracer_without_a_sampler_takes_everything(tell: Tell) -> None:
    told = tell(trace_root="bridge")
    real = trace.NoOpTracer()
    span = RunTracer(real, told.runtime).start_span("x", attributes=attributes_for())
    assert span.get_span_context().trace_id == OURS
    assert handle_of(told).span_context.trace_flags.sampled


def test_a_tracer_that_makes_no_spans_is_left_alone(told: Told) -> None:
    found = RunTracer(trace.NoOpTracer(), told.runtime).start_span("x", attributes=attributes_for())
    assert found.get_span_context().is_valid is False
    assert handle_of(told).span is None


def test_a_tracer_whose_ids_cannot_be_planned_keeps_its_own(told: Told) -> None:
    class Foreign(trace.NoOpTracer):
        def start_span(self, name: str, *arguments: Any, **named: Any) -> Any:
            return NonRecordingSpan(SpanContext(0xABC, 0xDEF, False, TraceFlags(1)))

    span = RunTracer(Foreign(), told.runtime).start_span("x", attributes=attributes_for())
    assert span.get_span_context().trace_id == 0xABC
    span.end()
    assert handle_of(told).ended


# --- what is not a run's ------------------------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        {},
        {"prefect.run.id": "no uuid", "prefect.run.type": "flow"},
        {"prefect.run.id": FLOW_RUN_ID},
        {"prefect.run.id": None, "prefect.run.type": "flow"},
    ],
)
def test_a_span_that_is_no_runs_is_as_it_was_asked_for(
    told: Told, attributes: dict[str, Any] | None
) -> None:
    span = tracer(told).start_span("other", kind=SpanKind.CLIENT, attributes=attributes)
    span.end()
    found = told.spans["other"]
    assert not isinstance(span, RunSpan)
    assert found.kind is SpanKind.CLIENT
    assert told.tally(signals.PROCESS_FAILURES) == {"span_start": 1}


def test_a_current_span_of_the_tracer_is_the_real_ones(told: Told) -> None:
    with tracer(told).start_as_current_span("other") as span:
        assert trace.get_current_span() is span
    assert list(told.spans) == ["other"]


@pytest.mark.parametrize("place", ["open", "_wrap", "_plan"])
def test_whatever_of_ours_fails_prefect_gets_its_span(
    told: Told, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("no")

    owner: Any = told.runtime.registry if place == "open" else RunTracer
    monkeypatch.setattr(owner, place, refuse)
    telemetry = told.telemetry()
    telemetry._start_span(a_flow_run(), {})
    telemetry.update_state(Completed())
    telemetry.end_span_on_success()
    assert [span.name for span in told.exporter.get_finished_spans()] == ["wise-owl"]
    assert told.tally(signals.PROCESS_FAILURES) == {"span_start": 1}


# --- a run's span -------------------------------------------------------------


def test_a_span_is_ended_once(told: Told) -> None:
    span = tracer(told).start_span("x", attributes=attributes_for())
    assert isinstance(span, RunSpan)
    assert (span.finished, span.is_recording()) == (False, True)
    span.end(NOW + SECOND)
    span.end(NOW + 2 * SECOND)
    span.finish()
    span.abandon()
    assert span.finished
    found = told.spans["RUN"]
    assert found.end_time == NOW + SECOND
    assert "prefect_status.incomplete" not in found.attributes


def test_an_abandoned_span_says_so(told: Told) -> None:
    span = tracer(told).start_span("x", attributes=attributes_for())
    assert isinstance(span, RunSpan)
    span.abandon()
    assert told.spans["RUN"].attributes[signals.INCOMPLETE.name] is True
    assert handle_of(told).ended


def test_a_span_ends_no_earlier_than_its_last_status(told: Told) -> None:
    with told.run_of(train):
        told.clock.now = 2**62
        status("from the future")
    assert told.spans["RUN train"].end_time == 2**62


def test_the_rest_of_a_span_is_the_real_ones(told: Told) -> None:
    span = tracer(told).start_span("x", attributes=attributes_for())
    assert isinstance(span, RunSpan)
    other = SpanContext(1, 2, False)
    span.set_attribute("a", 1)
    span.set_attributes({"b": 2})
    span.add_link(other)
    span.add_event("own", {"c": 3}, NOW)
    span.add_event("bare")
    span.update_name("renamed")
    assert span.name == "renamed"
    assert span.attributes["a"] == 1
    span.end()
    found = span_of(told.spans["RUN"])
    assert (found["attributes"]["b"], found["links"]) == (2, 1)
    assert found["events"] == [("own", {"c": 3}), ("bare", {})]


@pytest.mark.parametrize(
    ("state", "given", "kept"),
    [
        (Completed(), (SpanStatus(StatusCode.OK), None), ("OK", None)),
        (Completed(), (StatusCode.OK, None), ("OK", None)),
        (Failed(message="too few"), (StatusCode.OK, None), ("ERROR", "too few")),
        (Failed(), (SpanStatus(StatusCode.OK), None), ("ERROR", "Run failed")),
        (Failed(), (StatusCode.ERROR, "words"), ("ERROR", "words")),
        (
            Failed(),
            (SpanStatus(StatusCode.ERROR, "password=hunter22"), None),
            ("ERROR", "password=[redacted]"),
        ),
        (Failed(), (StatusCode.ERROR, "password=hunter22"), ("ERROR", "password=[redacted]")),
    ],
)
def test_a_status_agrees_with_the_state_and_holds_no_secret(
    told: Told, state: State[Any], given: tuple[Any, str | None], kept: tuple[str, str | None]
) -> None:
    span = tracer(told).start_span("x", attributes=attributes_for())
    assert isinstance(span, RunSpan)
    state_event(span, state)
    span.set_status(*given)
    span.end()
    assert span_of(told.spans["RUN"])["status"] == kept


@pytest.mark.parametrize(
    ("name", "status_of", "result"),
    [("TimedOut", "ERROR", "timeout"), ("NotReady", "OK", "skip")],
)
def test_a_tasks_span_ends_in_the_states_that_prefect_forgets(
    told: Told, name: str, status_of: str, result: str
) -> None:
    telemetry, run = told.telemetry(), a_task_run()
    state: State[Any] = Failed(name=name) if name == "TimedOut" else Running(name=name)
    with told.run_of(train), in_task(score, run):
        telemetry._start_span(run, {})
        telemetry.update_state(state)
    found = span_of(told.spans["score"])
    assert (found["status"][0], found["attributes"]["cicd.pipeline.task.run.result"]) == (
        status_of,
        result,
    )


@pytest.mark.parametrize(
    ("made", "state", "waits"),
    [
        (hooked, Completed(), True),
        (hooked, Failed(), True),
        (hooked, Running(), False),
        (score, Completed(), False),
    ],
)
def test_a_tasks_span_waits_for_a_hook_of_ours_that_is_to_run(
    told: Told, made: Any, state: State[Any], waits: bool
) -> None:
    telemetry, run = told.telemetry(), a_task_run()
    with told.run_of(train), in_task(made, run):
        telemetry._start_span(run, {})
        telemetry.update_state(state)
        telemetry.end_span_on_success()
        ended = bool(told.exporter.get_finished_spans())
        assert ended is not waits
        if waits:
            status("in a hook of the user's")
            span = handle_of(told, TASK_RUN).span
            assert span is not None
            span.finish()
    names = [name for name, _ in span_of(told.spans[made.name])["events"]]
    assert ("in a hook of the user's" in names) is waits


def test_in_another_tasks_context_a_span_does_not_wait(told: Told) -> None:
    telemetry, run = told.telemetry(), a_task_run()
    with told.run_of(train):
        telemetry._start_span(run, {})
        telemetry.update_state(Completed())
        with in_task(hooked, a_task_run(id=UUID(int=9))):
            telemetry.end_span_on_success()
    assert told.spans["task"].end_time is not None


def test_an_unsampled_span_writes_nothing_and_ends(tell: Tell) -> None:
    told = tell(sampler=ALWAYS_OFF)
    with told.run_of(train):
        status("said")
    assert told.messages == ["said"]
    assert told.exporter.get_finished_spans() == ()
    assert handle_of(told).ended


def test_parts_of_ours_that_fail_do_not_keep_a_span_open(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("no")

    with told.run_of(train):
        status("said")
        monkeypatch.setattr("prefect_otel_status.spans.write_events", refuse)
        monkeypatch.setattr("prefect_otel_status.spans.run_attributes", refuse)
    assert told.spans["RUN train"].end_time is not None
    assert told.tally(signals.PROCESS_FAILURES) == {"span_finish": 1, "span_events": 1}


def test_an_exception_that_cannot_say_itself_is_recorded_by_its_type(told: Told) -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    telemetry = told.telemetry()
    telemetry._start_span(a_flow_run(), {})
    telemetry.record_exception(UnspeakableError())
    telemetry.update_state(Failed())
    telemetry.end_span_on_failure()
    attributes = told.spans["RUN"].attributes
    assert attributes["error.type"].endswith("UnspeakableError")


# --- names and hostile values -------------------------------------------------


@pytest.mark.parametrize(
    ("run", "bridge", "name"),
    [
        (flow_run(), False, "RUN train"),
        (flow_run(flow_name=""), False, "RUN"),
        (flow_run(flow_name="a\nb\ud800"), False, "RUN a b\ufffd"),
        (flow_run(), True, "ATTEMPT 1"),
        (task_run(), False, "score"),
        (task_run(), True, "score"),
        (task_run(task_name=""), False, "task"),
    ],
)
def test_a_span_is_named_for_what_many_runs_have_in_common(
    run: Any, bridge: bool, name: str
) -> None:
    runtime = Runtime(Settings(trace_root="bridge" if bridge else "process"), sinks=[])
    assert span_name(RunHandle(run), runtime) == name


def test_a_secret_in_a_flows_name_is_not_the_spans_name(told: Told) -> None:
    named = train.with_options(name=SECRETS["jwt"])
    with told.run_of(named, name=SECRETS["jwt"], tags=[SECRETS["jwt"]]):
        pass
    assert SECRETS["jwt"] not in repr(
        [span_of(span) for span in told.exporter.get_finished_spans()]
    )


TEXTS = {name: value for name, value in VALUES.items() if isinstance(value, str)}


@pytest.mark.parametrize("value", TEXTS.values(), ids=TEXTS.keys())
def test_a_hostile_state_leaves_the_span_whole(told: Told, value: str) -> None:
    telemetry = told.telemetry()
    telemetry._start_span(a_flow_run(), {})
    telemetry.update_state(Failed(name=value, message=value))
    telemetry.end_span_on_failure(value)
    (span,) = told.exporter.get_finished_spans()
    assert is_safe(list(span_of(span).items()))
    assert "hunter22" not in repr(span_of(span))


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_hostile_label_name_or_tag_leaves_the_span_whole(told: Told, value: Any) -> None:
    hostile = {"own": value, "prefect.run.name": value, "prefect.tags": [value]}
    tracer(told).start_span("x", attributes={**attributes_for(), **hostile}).end()
    (span,) = told.exporter.get_finished_spans()
    assert isinstance(span_of(span)["attributes"]["prefect.tags"], tuple)
    assert is_safe(list(span_of(span).items()))


@pytest.mark.parametrize(
    ("kind", "final"),
    [("COMPLETED", True), ("CRASHED", True), ("RUNNING", False), (Completed().type, True)],
)
def test_a_state_is_final_by_its_type(kind: Any, final: bool) -> None:
    assert is_final(kind) is final


def test_a_provider_of_another_kind_gets_our_ids(told: Told) -> None:
    class Proxy(trace.NoOpTracer):
        def __init__(self, inner: Any) -> None:
            self._tracer = inner

        def start_span(self, *arguments: Any, **named: Any) -> Any:
            return self._tracer.start_span(*arguments, **named)

    inner = TracerProvider(shutdown_on_exit=False).get_tracer("inner")
    span = RunTracer(Proxy(inner), told.runtime).start_span("x", attributes=attributes_for())
    assert span.get_span_context().trace_id == OURS
    assert len(list(itertools.islice(told.runtime.registry.live(), 2))) == 1
