"""`status` takes whatever it is given, never raises, and says what it was told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from prefect import flow

from prefect_otel_status import runtime as runtime_module
from prefect_otel_status import sanitize, signals
from prefect_otel_status.messages import deliver, say, status
from prefect_otel_status.model import Run, Status
from prefect_otel_status.runs import RunHandle, Scope
from prefect_otel_status.stages import stage
from tests.support.hostile import SECRET_PARTS, SECRETS, TEN_MEGABYTES, VALUES, RaisingText
from tests.support.records import FLOW_RUN_ID, NOW, flow_run
from tests.support.telling import Told, is_safe, span_of

Tell = Callable[..., Told]

SCALARS = st.one_of(
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc", "L"])),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(),
)
HOSTILE = st.sampled_from(sorted(VALUES.keys() - {"ten megabytes"})).map(lambda name: VALUES[name])
ANY = st.recursive(
    st.one_of(SCALARS, HOSTILE),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(SCALARS, inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["{a}", "{a!r:>9}", "{b.c}", "{}", "{0}", "{", "}", "{{", "{a:{b}}", "x 1"]
)
TEMPLATE = st.one_of(ANY, st.lists(st.one_of(FIELDS, st.text(max_size=5))).map("".join))
NAMES = st.one_of(st.sampled_from(["a", "b", "message", "self", "template"]), st.text(max_size=5))


@flow
def train() -> None:
    """The flow of these tests."""


# --- what is said -------------------------------------------------------------


def test_a_status_is_said_whole(told: Told) -> None:
    with told.run_of(train):
        returned = status(
            "Scored {model}: {accuracy:.1%}",
            event="scored",
            stage="evaluate",
            level="warning",
            progress=0.5,
            model="bert",
            accuracy=0.93,
        )
    span = told.spans["RUN train"]
    said = Status(
        template="Scored {model}: {accuracy:.1%}",
        message="Scored bert: 93.0%",
        event="scored",
        stage="evaluate",
        level="warning",
        progress=0.5,
        attributes={"model": "bert", "accuracy": 0.93},
        run=flow_run(),
        attempt=1,
        sequence=1,
        timestamp=NOW,
        trace_id=span.context.trace_id,
        span_id=span.context.span_id,
        sampled=True,
    )
    assert told.statuses == [said]
    assert returned == said
    assert [(event.name, dict(event.attributes), event.timestamp) for event in span.events] == [
        (
            "scored",
            {
                "model": "bert",
                "accuracy": 0.93,
                "prefect_status.message": "Scored bert: 93.0%",
                "prefect_status.template": "Scored {model}: {accuracy:.1%}",
                "prefect_status.level": "warning",
                "prefect_status.stage": "evaluate",
                "prefect_status.progress": 0.5,
                "prefect_status.sequence": 1,
                "prefect_status.attempt": 1,
            },
            NOW,
        )
    ]


def test_statuses_of_a_run_are_numbered(told: Told) -> None:
    with told.run_of(train):
        for _ in range(3):
            status("again")
    assert [(said.attempt, said.sequence) for said in told.statuses] == [(1, 1), (1, 2), (1, 3)]


def test_outside_a_run_a_status_is_said_without_a_place(told: Told) -> None:
    status("alone", number=1)
    assert told.statuses == [Status("alone", "alone", attributes={"number": 1}, timestamp=NOW)]
    assert told.exporter.get_finished_spans() == ()


def test_outside_a_run_a_status_belongs_to_the_span_that_is_current(told: Told) -> None:
    with told.provider.get_tracer("other").start_as_current_span("other") as span:
        status("beside")
    (said,) = told.statuses
    context = span.get_span_context()
    assert (said.trace_id, said.span_id, said.sampled) == (context.trace_id, context.span_id, True)


def test_the_stage_around_is_the_default_and_a_given_one_stands_over_it(told: Told) -> None:
    with stage("load"):
        status("a")
        status("b", stage="other")
        status("c", stage="")
    assert [said.stage for said in told.statuses] == ["load", "other", ""]


def test_a_late_status_is_a_span_below_its_run(told: Told) -> None:
    with told.run_of(train) as run:
        status("in time")
    with told.in_run_again(train, run):
        status("late")
    spans = told.spans
    ours = spans[signals.LATE_SPAN.name]
    assert ours.parent.span_id == spans["RUN train"].context.span_id
    assert ours.context.trace_id == spans["RUN train"].context.trace_id
    assert (ours.start_time, ours.end_time) == (NOW, NOW)
    assert [event.name for event in ours.events] == ["late"]
    assert [event.name for event in spans["RUN train"].events] == ["in time"]


def test_a_status_without_span_events_is_on_no_span(tell: Tell) -> None:
    told = tell(span_events=False)
    with told.run_of(train):
        status("said")
    assert told.messages == ["said"]
    assert span_of(told.spans["RUN train"])["events"] == []


def test_a_late_status_of_a_run_without_a_span_is_on_none(told: Told) -> None:
    handle = RunHandle(Run(kind="flow", id=FLOW_RUN_ID), ended=True)
    scope = Scope(handle, handle.span_context, handle.buffer)
    deliver(told.runtime, scope, Status("late", "late"))
    assert told.messages == ["late"]
    assert told.exporter.get_finished_spans() == ()


def test_a_text_that_was_filled_in_elsewhere_is_kept_to_a_length(told: Told) -> None:
    said = say(told.runtime, "read %s", {}, message="x" * 100_000)
    assert (said.template, len(said.message)) == ("read %s", 4 * sanitize.TEXT_LIMIT)


# --- bad input ----------------------------------------------------------------


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    template=TEMPLATE,
    attributes=st.dictionaries(NAMES, ANY, max_size=4),
    event=ANY,
    in_stage=ANY,
    level=st.one_of(SCALARS, st.sampled_from(["info", "ERROR", "warn"])),
    progress=st.one_of(SCALARS, ANY),
)
def test_any_status_is_said_once_and_safe_for_every_sink(
    told: Told,
    template: Any,
    attributes: dict[str, Any],
    event: Any,
    in_stage: Any,
    level: Any,
    progress: Any,
) -> None:
    told.of(object)
    told.sink.records.clear()
    ours = {"event", "stage", "level", "progress"}
    values = {name: value for name, value in attributes.items() if name not in ours}
    status(template, event=event, stage=in_stage, level=level, progress=progress, **values)
    (said,) = told.statuses
    assert is_safe(said)
    assert said.level in ("debug", "info", "warning", "error", "critical")
    assert said.progress is None or 0 <= said.progress <= 1
    assert len(said.message) <= sanitize.TEXT_LIMIT
    assert len(said.template) <= sanitize.LABEL_LIMIT


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_hostile_value_is_said_in_every_place(told: Told, value: Any) -> None:
    status(value)
    status("{value}", value=value)
    status("plain", event=value, stage=value, value=value)
    assert len(told.statuses) == 3
    assert is_safe(told.statuses)
    assert told.tally(signals.PROCESS_FAILURES) == {}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_in_no_record(told: Told, kind: str) -> None:
    secret = SECRETS[kind]
    with told.run_of(train):
        status(f"f-string {secret}")
        status("{value}", value=secret)
        status("x", event=secret, stage=secret, nested={"deep": [secret]})
    assert SECRET_PARTS[kind] not in repr(told.statuses)
    assert SECRET_PARTS[kind] not in repr(span_of(told.spans["RUN train"]))
    assert told.tally(signals.PROCESS_REDACTIONS)[kind] >= 3


def test_forged_lines_stay_one_line_where_there_is_one(told: Told) -> None:
    status('"} 1\nfake 1', event='"} 1\nfake 1', stage='"} 1\nfake 1')
    (said,) = told.statuses
    assert (said.event, said.stage) == ('"} 1 fake 1', '"} 1 fake 1')
    assert "\n" not in said.template


def test_ten_megabytes_become_a_page(told: Told) -> None:
    status(TEN_MEGABYTES, value=TEN_MEGABYTES)
    (said,) = told.statuses
    assert (len(said.message), len(said.attributes["value"])) == (4096, 4096)
    assert said.flags == ("long_message",)


def test_a_thousand_attributes_are_flagged_and_kept_to_a_number(told: Told) -> None:
    status("many", **{f"name{number}": number for number in range(1000)})
    (said,) = told.statuses
    assert (len(said.attributes), said.flags) == (64, ("too_many_attributes",))


@pytest.mark.parametrize(
    ("template", "values", "message", "flags"),
    [
        ("Scored {model}", {}, "Scored {model}", ("missing_field",)),
        ("Scored {a:.1%}", {"a": "x"}, "Scored {a:.1%}", ("failed_field",)),
        ("Scored {a}", {"a": RaisingText()}, "Scored {a}", ("failed_field",)),
        ("{a {b} }", {"a": 1}, "{a {b} }", ("bad_template",)),
        ("done }", {}, "done }", ("bad_template",)),
        ("", {}, "", ()),
        (None, {}, "None", ()),
        (b"bytes", {}, "bytes", ()),
    ],
)
def test_a_template_that_cannot_be_filled_stays_as_it_is_written(
    told: Told, template: Any, values: dict[str, Any], message: str, flags: tuple[str, ...]
) -> None:
    status(template, **values)
    (said,) = told.statuses
    assert (said.message, said.flags) == (message, flags)
    assert told.tally(signals.PROCESS_FLAGS) == dict.fromkeys(flags, 1)


@pytest.mark.parametrize(
    ("level", "known", "flags"),
    [
        ("ERROR", "error", ()),
        ("warn", "warning", ()),
        ("err", "error", ()),
        ("fatal", "critical", ()),
        ("loud", "info", ("unknown_level",)),
        ("", "info", ("unknown_level",)),
        (None, "info", ("unknown_level",)),
        (30, "info", ("unknown_level",)),
    ],
)
def test_an_unknown_level_is_flagged(
    told: Told, level: Any, known: str, flags: tuple[str, ...]
) -> None:
    status("said", level=level)
    (said,) = told.statuses
    assert (said.level, said.flags) == (known, flags)


def test_a_level_that_the_settings_leave_out_is_flagged(tell: Tell) -> None:
    told = tell(levels="info,error")
    status("said", level="debug")
    (said,) = told.statuses
    assert (said.level, said.flags) == ("info", ("unknown_level",))


@pytest.mark.parametrize(
    ("progress", "kept", "flags"),
    [
        (0, 0.0, ()),
        (1, 1.0, ()),
        ("0.5", 0.5, ()),
        (-0.1, 0.0, ("bad_progress",)),
        (42, 1.0, ("bad_progress",)),
        (float("inf"), 1.0, ("bad_progress",)),
        (float("nan"), None, ("bad_progress",)),
        ("half", None, ("bad_progress",)),
        (object(), None, ("bad_progress",)),
    ],
)
def test_progress_out_of_range_is_bounded_and_flagged(
    told: Told, progress: Any, kept: float | None, flags: tuple[str, ...]
) -> None:
    status("said", progress=progress)
    (said,) = told.statuses
    assert (said.progress, said.flags) == (kept, flags)


def test_values_are_those_of_the_call_whatever_happens_to_them_later(told: Told) -> None:
    items = ["a"]
    status("said", items=items)
    items.append("b")
    assert told.statuses[0].attributes == {"items": ("a",)}


def test_a_value_of_ours_is_not_replaced(told: Told) -> None:
    status("said", **{"prefect_status.message": "forged", "other": 1})
    (said,) = told.statuses
    assert (said.attributes, said.flags) == ({"other": 1}, ("reserved_attribute",))


# --- at odd moments -----------------------------------------------------------


def test_in_a_signal_handler_it_says_what_it_says(told: Told) -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, frame: status("in a handler"))
    try:
        with told.run_of(train):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [(said.message, said.run) for said in told.statuses] == [("in a handler", flow_run())]


def test_in_a_bare_thread_it_is_said_outside_a_run(told: Told) -> None:
    thread = threading.Thread(target=status, args=("in a thread",))
    with told.run_of(train):
        thread.start()
        thread.join()
    assert [(said.message, said.run) for said in told.statuses] == [("in a thread", None)]


def test_after_shutdown_it_neither_raises_nor_waits(told: Told) -> None:
    assert told.runtime.shutdown(5)
    assert status("too late").message == "too late"
    assert told.messages == ["too late"]


def test_disabled_it_does_nothing(tell: Tell) -> None:
    told = tell(enabled=False)
    with trace.use_span(trace.INVALID_SPAN):
        assert status("said", number=1) == Status("", "")
    assert told.messages == []


def test_a_failure_of_ours_is_counted_and_passes_by(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Any:
        raise RuntimeError("no scope")

    monkeypatch.setattr(told.runtime.registry, "scope", refuse)
    assert status("said") == Status("", "")
    assert told.tally(signals.PROCESS_FAILURES) == {"status": 1}


def test_a_runtime_is_made_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_OTEL_STATUS_ENABLED", "false")
    before = runtime_module.current()
    runtime_module.use(None)
    try:
        assert status("said") == Status("", "")
        assert runtime_module.get().enabled is False
    finally:
        runtime_module.use(before)


def test_what_is_said_late_from_a_bare_thread_has_no_context(told: Told) -> None:
    with told.run_of(train):
        status("in time")
    handle = told.runtime.registry.find(UUID(FLOW_RUN_ID))
    assert handle is not None
    scope = Scope(handle, handle.span_context, handle.buffer)
    said = say(told.runtime, "late", {}, scope=scope)
    assert (said.run, said.trace_id) == (flow_run(), told.spans["RUN train"].context.trace_id)
    assert [span.name for span in told.exporter.get_finished_spans()] == ["RUN train", "STATUS"]


@pytest.mark.parametrize(
    ("options", "flags"),
    [({"progress": 10**400}, ("bad_progress",)), ({"level": ["error"]}, ("unknown_level",))],
    ids=["progress beyond a float", "level that cannot be hashed"],
)
def test_an_odd_value_does_not_cost_the_status(
    told: Told, options: dict[str, Any], flags: tuple[str, ...]
) -> None:
    status("said", **options)
    assert [(said.message, said.flags) for said in told.statuses] == [("said", flags)]
