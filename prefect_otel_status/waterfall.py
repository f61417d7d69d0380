"""A trace as rows on an axis of time: what a terminal and a page draw alike. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prefect_otel_status import sanitize, signals
from prefect_otel_status.trees import USUAL_STATES, EventRecord, SpanRecord

STATUS, EXCEPTION, STATE = "status", "exception", "state"
"""What a mark tells."""

_EXCEPTION_TYPE, _EXCEPTION_MESSAGE = "exception.type", "exception.message"
_ERRORS = frozenset({"failure", "error", "timeout"})
_UNFINISHED = (
    (signals.INFERRED.name, "its heartbeats stopped"),
    (signals.ABANDONED.name, "left running when its flow run ended"),
    (signals.INCOMPLETE.name, "its process left before its end"),
)
_DEEPEST = 100
"""Spans within one another that are drawn apart; deeper ones are drawn at this depth."""


@dataclass(frozen=True)
class Mark:
    """Something that was said or happened in a span. `at` is its place on the axis, from 0 to 1.

    `time` is in nanoseconds since 1970, `offset` in nanoseconds since the trace began.
    """

    kind: str
    text: str
    time: int
    offset: int
    at: float
    level: str = "info"
    stage: str = ""


@dataclass(frozen=True)
class Row:
    """A span: where it is in the tree and on the axis.

    `start` and `length` are from 0 to 1; `offset` and `duration` are in nanoseconds.
    `result` is in the words of `cicd.pipeline.result`, empty while it goes on.
    `trouble` says why it failed, where no row within it does.
    """

    span: SpanRecord
    name: str
    depth: int
    guides: tuple[bool, ...]
    is_last: bool
    has_children: bool
    start: float
    length: float
    offset: int
    duration: int
    result: str = ""
    state: str = ""
    trouble: str = ""
    notes: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def is_error(self) -> bool:
        return self.result in _ERRORS


@dataclass(frozen=True)
class Waterfall:
    """A trace: its rows, from the top down, and its extent in nanoseconds since 1970."""

    rows: tuple[Row, ...]
    start: int
    end: int

    @property
    def duration(self) -> int:
        return self.end - self.start


def waterfall(spans: Sequence[SpanRecord]) -> Waterfall:
    """The SPANS of one trace. Raises `ValueError` where there is none.

    A span whose parent is not among them stands at the top. Each is there once,
    however their parents are entangled.
    """
    if not spans:
        raise ValueError("waterfall() got no spans; give it those of one trace.")
    start = min(span.start for span in spans)
    end = max(max(span.end, span.start) for span in spans)
    axis = _Axis(start, max(1, end - start))
    return Waterfall(tuple(_Layout(spans, axis).rows()), start, end)


@dataclass(frozen=True)
class _Axis:
    start: int
    extent: int

    def at(self, time: int) -> float:
        return min(1.0, max(0.0, (time - self.start) / self.extent))


class _Layout:
    """Puts spans below their parents, in order of time."""

    def __init__(self, spans: Sequence[SpanRecord], axis: _Axis) -> None:
        self._axis = axis
        self._spans = sorted(spans, key=lambda span: (span.start, -span.end, span.span_id))
        self._ids = {span.span_id for span in spans}
        self._below: dict[str | None, list[SpanRecord]] = defaultdict(list)
        self._shown: set[str] = set()
        for span in self._spans:
            self._below[span.parent_id if span.parent_id in self._ids else None].append(span)

    def rows(self) -> Iterator[Row]:
        yield from self._from(self._below[None])
        # Spans in a ring are below one another, so no top led to them.
        while left := [span for span in self._spans if span.span_id not in self._shown]:
            yield from self._from(left[:1])

    def _from(self, tops: Sequence[SpanRecord]) -> Iterator[Row]:
        waiting = self._placed(tops, ())
        while waiting:
            span, guides, is_last = waiting.pop()
            if span.span_id in self._shown:
                continue
            self._shown.add(span.span_id)
            yield self._row(span, guides, is_last)
            inside = (*guides, not is_last) if len(guides) < _DEEPEST else guides
            waiting += self._placed(self._below[span.span_id], inside)

    def _placed(
        self, spans: Sequence[SpanRecord], guides: tuple[bool, ...]
    ) -> list[tuple[SpanRecord, tuple[bool, ...], bool]]:
        """SPANS, the last first, each with the lines that go past it."""
        last = len(spans) - 1
        return [(span, guides, i == last) for i, span in reversed(list(enumerate(spans)))]

    def _row(self, span: SpanRecord, guides: tuple[bool, ...], is_last: bool) -> Row:
        start = self._axis.at(span.start)
        return Row(
            span=span,
            name=_line(span.name) or "(no name)",
            depth=len(guides),
            guides=guides,
            is_last=is_last,
            has_children=bool(self._below[span.span_id]),
            start=start,
            length=max(0.0, self._axis.at(span.end) - start),
            offset=span.start - self._axis.start,
            duration=max(0, span.end - span.start),
            result=span.result or "",
            state=_line(span.attributes.get(signals.STATE_NAME.name, "")),
            trouble=(trouble := self._trouble(span)),
            notes=tuple(_notes(span, trouble)),
            marks=tuple(filter(None, (self._mark(event, span) for event in span.events))),
        )

    def _trouble(self, span: SpanRecord) -> str:
        """Why SPAN failed, unless that is told in it or below it already."""
        words = _line(span.description)
        told = self._told_in(span) if words else ()
        return "" if any(said and words.endswith(said) for said in told) else words

    def _told_in(self, span: SpanRecord) -> Iterator[str]:
        """What SPAN itself says, and why those within it failed."""
        yield from (_text(event) for event in span.events)
        waiting, seen = list(self._below[span.span_id]), {span.span_id}
        while waiting:
            inner = waiting.pop()
            if inner.span_id not in seen:
                seen.add(inner.span_id)
                yield from _reasons(inner)
                waiting += self._below[inner.span_id]

    def _mark(self, event: EventRecord, span: SpanRecord) -> Mark | None:
        at, offset = self._axis.at(event.time), event.time - self._axis.start
        attributes = event.attributes
        if signals.MESSAGE.name in attributes:
            return Mark(
                kind=STATUS,
                text=_line(attributes[signals.MESSAGE.name]),
                time=event.time,
                offset=offset,
                at=at,
                level=_line(attributes.get(signals.LEVEL.name, "info")),
                stage=_stage_beside(attributes.get(signals.STAGE.name), span),
            )
        if event.name == EXCEPTION:
            if self._is_from_below(event, span):
                return None
            return Mark(EXCEPTION, _exception(event), event.time, offset, at, "error")
        state = _line(attributes.get(signals.STATE_NAME.name, event.name))
        return (
            None if state in USUAL_STATES else Mark(STATE, state, event.time, offset, at, "debug")
        )

    def _is_from_below(self, event: EventRecord, span: SpanRecord) -> bool:
        said = _exception(event)
        inside = (e for child in self._below[span.span_id] for e in child.events)
        return any(other.name == EXCEPTION and _exception(other) == said for other in inside)


def _reasons(span: SpanRecord) -> Iterator[str]:
    """What SPAN says of its failure: as a whole, and the part after Prefect's own words."""
    words = _line(span.description)
    yield words
    yield words.partition("encountered an exception")[2].lstrip(": ")
    yield from (_exception(event) for event in span.events if event.name == EXCEPTION)


def _text(event: EventRecord) -> str:
    if event.name == EXCEPTION:
        return _exception(event)
    return _line(event.attributes.get(signals.MESSAGE.name, ""))


def _notes(span: SpanRecord, trouble: str) -> Iterator[str]:
    """What must be known to read SPAN, unless its TROUBLE says so."""
    if not trouble:
        yield from (words for name, words in _UNFINISHED if span.attributes.get(name))
    if dropped := span.attributes.get(signals.EVENTS_DROPPED.name):
        yield f"{_line(dropped)} statuses left out"


def _stage_beside(stage: object, span: SpanRecord) -> str:
    # In its stage's own span the stage need not be said again.
    return "" if not stage or stage == span.name else _line(stage)


def _exception(event: EventRecord) -> str:
    kind = _line(event.attributes.get(_EXCEPTION_TYPE, "Exception")).rpartition(".")[2]
    return f"{kind}: {_line(event.attributes.get(_EXCEPTION_MESSAGE, ''))}"


def _line(value: object) -> str:
    # Traces may be anybody's: no control characters on the reader's screen.
    return sanitize.line(value, limit=sanitize.TEXT_LIMIT)
