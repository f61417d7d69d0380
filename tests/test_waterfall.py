"""A trace on an axis: rows from the top down, marks at their time, each failure told once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_otel_status import signals
from prefect_otel_status.trees import EventRecord, SpanRecord
from prefect_otel_status.waterfall import EXCEPTION, STATE, STATUS, Mark, waterfall

START = 1_000_000_000


def span(name: str, start: int, end: int, parent: str | None = None, **changes: Any) -> SpanRecord:
    return SpanRecord(
        trace_id="a" * 32,
        span_id=name,
        parent_id=parent,
        name=name,
        start=START + start,
        end=START + end,
        **changes,
    )


def failed(name: str, words: str, parent: str | None = None, **changes: Any) -> SpanRecord:
    return span(name, 0, 10, parent, status="error", description=words, **changes)


def said(message: str, at: int, **attributes: Any) -> EventRecord:
    return EventRecord("template", START + at, {signals.MESSAGE.name: message, **attributes})


def raised(kind: str, words: str) -> EventRecord:
    about = {"exception.type": kind, "exception.message": words}
    return EventRecord("exception", START + 5, about)


def test_without_spans_it_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="give it those of one trace"):
        waterfall([])


def test_rows_are_parents_first_by_their_start() -> None:
    found = waterfall(
        [
            span("late", 60, 90, "run"),
            span("run", 0, 100),
            span("inner", 20, 30, "early"),
            span("early", 10, 50, "run"),
        ]
    )
    shown = [(row.name, row.depth, row.is_last, row.has_children) for row in found.rows]
    assert shown == [
        ("run", 0, True, True),
        ("early", 1, False, True),
        ("inner", 2, True, False),
        ("late", 1, True, False),
    ]
    assert (found.start, found.end, found.duration) == (START, START + 100, 100)


def test_the_axis_runs_from_the_first_start_to_the_last_end() -> None:
    run, inner = waterfall([span("run", 0, 100), span("inner", 25, 75, "run")]).rows
    assert (run.start, run.length, run.offset, run.duration) == (0.0, 1.0, 0, 100)
    assert (inner.start, inner.length, inner.offset, inner.duration) == (0.25, 0.5, 25, 50)


def test_an_instant_has_an_axis_too() -> None:
    (row,) = waterfall([span("run", 0, 0)]).rows
    assert (row.start, row.length) == (0.0, 0.0)


def test_marks_are_what_was_said_and_the_states_that_are_particular() -> None:
    state = {signals.STATE_TYPE.name: "RUNNING", signals.STATE_NAME.name: "Running"}
    retry = {signals.STATE_TYPE.name: "SCHEDULED", signals.STATE_NAME.name: "AwaitingRetry"}
    events = (
        EventRecord("Running", START, state),
        said("Scored", 50, **{signals.LEVEL.name: "warning", signals.STAGE.name: "evaluate"}),
        EventRecord("AwaitingRetry", START + 75, retry),
        raised("builtins.ValueError", "no"),
    )
    (row,) = waterfall([span("run", 0, 100, events=events)]).rows
    assert row.marks == (
        Mark(STATUS, "Scored", START + 50, 50, 0.5, "warning", "evaluate"),
        Mark(STATE, "AwaitingRetry", START + 75, 75, 0.75, "debug"),
        Mark(EXCEPTION, "ValueError: no", START + 5, 5, 0.05, "error"),
    )


def test_a_stage_is_not_repeated_in_its_own_span() -> None:
    event = said("Scored", 1, **{signals.STAGE.name: "evaluate"})
    (row,) = waterfall([span("evaluate", 0, 10, events=(event,))]).rows
    assert row.marks[0].stage == ""


def test_a_failure_is_told_where_it_began() -> None:
    words = "ValueError: accuracy is not a number"
    rows = waterfall(
        [
            failed("run", f"Flow run encountered an exception: {words}"),
            failed("stage", "", "run"),
            failed("task", f"Task run encountered an exception {words}", "stage"),
        ]
    ).rows
    assert [row.trouble for row in rows] == [
        "",
        "",
        f"Task run encountered an exception {words}",
    ]


def test_an_exception_that_passed_through_is_told_once() -> None:
    no = raised("ValueError", "no")
    rows = waterfall(
        [
            failed("run", "ValueError: no", events=(no,)),
            failed("task", "ValueError: no", "run", events=(no,)),
        ]
    ).rows
    assert [[mark.text for mark in row.marks] for row in rows] == [[], ["ValueError: no"]]
    assert [row.trouble for row in rows] == ["", ""]


def test_what_a_status_said_is_not_said_again() -> None:
    (row,) = waterfall([failed("run", "Accuracy is too low", events=(said("too low", 1),))]).rows
    assert row.trouble == ""


@pytest.mark.parametrize(
    ("attribute", "note"),
    [
        (signals.INFERRED, "its heartbeats stopped"),
        (signals.ABANDONED, "left running when its flow run ended"),
        (signals.INCOMPLETE, "its process left before its end"),
    ],
)
def test_what_is_unfinished_is_noted_unless_the_trouble_says_it(
    attribute: signals.Attribute, note: str
) -> None:
    (row,) = waterfall([span("run", 0, 1, attributes={attribute.name: True})]).rows
    assert row.notes == (note,)
    (row,) = waterfall([failed("run", "It died.", attributes={attribute.name: True})]).rows
    assert (row.notes, row.trouble) == ((), "It died.")


def test_statuses_that_were_left_out_are_noted() -> None:
    (row,) = waterfall([span("run", 0, 1, attributes={signals.EVENTS_DROPPED.name: 7})]).rows
    assert row.notes == ("7 statuses left out",)


def test_text_forges_nothing_on_a_screen() -> None:
    events = (said("a\x1b[31m\nb", 1),)
    (row,) = waterfall([span("run", 0, 2, events=events)]).rows
    assert "\x1b" not in row.marks[0].text
    assert "\n" not in row.marks[0].text


IDS = st.integers(min_value=0, max_value=12).map(str)
TIMES = st.integers(min_value=-5, max_value=50)
SPANS = st.lists(
    st.builds(span, IDS, TIMES, TIMES, st.none() | IDS),
    min_size=1,
    max_size=13,
    unique_by=lambda made: made.span_id,
)


@given(SPANS)
def test_however_parents_are_entangled_each_span_is_a_row_on_the_axis(
    spans: list[SpanRecord],
) -> None:
    rows = waterfall(spans).rows
    assert sorted(row.name for row in rows) == sorted(span.name for span in spans)
    assert all(0 <= row.start <= 1 and 0 <= row.length <= 1 for row in rows)
    assert all(row.start + row.length <= 1.0000001 and row.duration >= 0 for row in rows)
    assert all(len(row.guides) == row.depth for row in rows)
