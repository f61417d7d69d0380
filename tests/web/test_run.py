"""The page of a run: everything that a string can carry is text on it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from prefect_otel_status import signals
from prefect_otel_status.trees import EventRecord, SpanRecord
from prefect_otel_status.waterfall import waterfall
from prefect_otel_status.web.bars import Bar
from prefect_otel_status.web.deployment import SaidIn
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.run import (
    RunHead,
    percent,
    run_page,
    short_page,
    standalone_page,
    ticks,
)

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def tags_of(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def a_span(text: str) -> SpanRecord:
    names = (signals.MESSAGE, signals.LEVEL, signals.STAGE)
    event = EventRecord(text, 5, {attribute.name: text for attribute in names})
    state = EventRecord(text, 6, {signals.STATE_NAME.name: text, signals.STATE_TYPE.name: text})
    raised = EventRecord("exception", 7, {"exception.type": text, "exception.message": text})
    return SpanRecord(
        trace_id=text,
        span_id="1",
        parent_id=None,
        name=text,
        start=0,
        end=10,
        status="error",
        description=text + "!",
        attributes={signals.RESULT.name: text, signals.EVENTS_DROPPED.name: text},
        events=(event, state, raised),
    )


def test_markup_in_every_field_stays_text() -> None:
    harmless = tags_of(standalone_page(waterfall([a_span("x")]), title="x", subtitle="x"))
    page = standalone_page(waterfall([a_span(MARKUP)]), title=MARKUP, subtitle=MARKUP)
    found = tags_of(page)
    assert found.tags == harmless.tags
    assert found.attributes == harmless.attributes
    assert html.escape("<script>") in page


def a_page(text: str) -> str:
    link = f"http://jaeger.example/{text}"
    head = RunHead(*[text] * 6, 2, text, 1, text, text, text)
    frame = Frame(now=10, trouble=text, server=text)
    trace = waterfall([a_span(text)])
    return run_page(trace, head=head, links={text: link}, is_whole=False, frame=frame)


def a_short_page(text: str) -> str:
    run = Bar(text, text, text, 1.0, 10)
    feed = [SaidIn(5, text, text, text, text, text)]
    links = {text: f"http://jaeger.example/{text}"}
    return short_page(run, flow=text, deployment=text, feed=feed, links=links, frame=Frame(now=10))


@pytest.mark.parametrize("page_of", [a_page, a_short_page])
def test_markup_in_every_field_of_a_page_of_the_bridge_stays_text(
    page_of: Callable[[str], str],
) -> None:
    harmless, found = tags_of(page_of("x")), tags_of(page_of(MARKUP))
    assert found.tags == harmless.tags
    assert found.attributes == harmless.attributes
    assert "style" not in found.attributes
    assert page_of(MARKUP).count("<script") == 1  # the page's own


def test_no_style_and_no_handler_is_inline() -> None:
    page = standalone_page(waterfall([a_span("x")]), title="x")
    found = tags_of(page)
    assert not {name for name in found.attributes if name.startswith("on")}
    assert "style" not in found.attributes


def test_the_axis_is_divided_into_four() -> None:
    trace = waterfall([SpanRecord("a", "1", None, "run", 0, 8_000_000_000)])
    assert [(tick.at, tick.text, tick.anchor) for tick in ticks(trace)] == [
        (0.0, "0", "start"),
        (25.0, "2.00 s", "middle"),
        (50.0, "4.00 s", "middle"),
        (75.0, "6.00 s", "middle"),
        (100.0, "8.00 s", "end"),
    ]


@pytest.mark.parametrize(("part", "shown"), [(0.0, 0.4), (0.001, 0.4), (0.5, 50.0), (1.0, 100.0)])
def test_a_bar_can_be_seen_however_short(part: float, shown: float) -> None:
    assert percent(part, least=0.4) == shown


def test_the_bar_of_a_span_is_where_it_ran() -> None:
    run = SpanRecord("a", "1", None, "run", 0, 100)
    inner = SpanRecord("a", "2", "1", "inner", 25, 75)
    page = standalone_page(waterfall([run, inner]), title="x")
    bars = re.findall(r'<rect class="bar" x="([\d.]+)%" y="15%" width="([\d.]+)%"', page)
    assert bars == [("0.0", "100.0"), ("25.0", "50.0")]
