"""Traces and counters for the eye: trees and a table, out of a folder of OTLP JSON lines.

For a look without a backend: at the end of a demo, in a terminal, in a test.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from prefect_otel_status import sanitize, signals

MISSING_PARENT = "(parent not exported)"
RING = "(below themselves)"

T = TypeVar("T")
Parse = Callable[[dict[str, Any]], T]
"""Makes something of one export request; raises where it is none."""

CounterValue = tuple[str, dict[str, Any], float]
"""A counter's series: the metric's name, its attributes, and its total over all processes."""

_OUR_PREFIX = signals.MESSAGE.name.removesuffix("message")
_WHOSE = (signals.PIPELINE_NAME, signals.DEPLOYMENT, signals.ENVIRONMENT)
_ROTATED = ".1"
_DELTA = 1
_STATUSES = {0: "unset", 1: "ok", 2: "error"}
_EXCEPTION = "exception"
_EXCEPTION_TYPE = "exception.type"
_EXCEPTION_MESSAGE = "exception.message"
USUAL_STATES = frozenset({"Scheduled", "Pending", "Running", "Completed", "Failed"})
"""Every run goes through these: telling them would hide what is particular."""

COLOURS = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
"""How levels are coloured."""

MARKS = {
    "success": ("✓", "green"),
    "skip": ("✓", "dim"),
    "cancellation": ("✗", "yellow"),
    "failure": ("✗", "red"),
    "error": ("✗", "red"),
    "timeout": ("✗", "red"),
}
"""The sign of each result, and its colour."""


@dataclass(frozen=True)
class EventRecord:
    """An event of a span; its time in nanoseconds since 1970."""

    name: str
    time: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SpanRecord:
    """A span as it was exported: ids in hexadecimal, times in nanoseconds since 1970.

    `status` is `unset`, `ok` or `error`; `description` is what it says of an error.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: int
    end: int
    status: str = "unset"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[EventRecord, ...] = ()
    description: str = ""

    @property
    def result(self) -> str | None:
        """How it went, in the words of `cicd.pipeline.result`; None where nobody said."""
        said = self.attributes.get(signals.RESULT.name) or self.attributes.get(
            signals.TASK_RESULT.name
        )
        if said is not None:
            return str(said)
        return {"ok": "success", "error": "failure"}.get(self.status)


# --- reading -----------------------------------------------------------------
def read_spans(folder: Path, *, broken: Counter[str] | None = None) -> list[SpanRecord]:
    """The spans in FOLDER, each once, by the time they began; none where there is no file.

    Lines that cannot be read, a torn last one among them, are skipped and
    counted in BROKEN under the name of their file.
    """
    found: dict[tuple[str, str], SpanRecord] = {}
    for spans in _read(folder, "traces.jsonl", _spans_in, broken):
        found.update(((span.trace_id, span.span_id), span) for span in spans)
    return sorted(found.values(), key=lambda span: (span.start, span.end))


def read_counters(folder: Path, *, broken: Counter[str] | None = None) -> list[CounterValue]:
    """The totals of the counters in FOLDER, by name and attributes, over all processes.

    Each process counts from zero, so the last value of each is taken, and those
    are added. Broken lines are skipped and counted as in `read_spans`.
    """
    totals = _Totals()
    for points in _read(folder, "metrics.jsonl", _points_in, broken):
        for point in points:
            totals.add(point)
    return totals.counters()


def _read(folder: Path, name: str, parse: Parse[T], broken: Counter[str] | None) -> Iterator[T]:
    """What PARSE makes of each line of the file NAME, the rotated part first."""
    for file in (folder / f"{name}{_ROTATED}", folder / name):
        for line in _lines(file):
            parsed = _parsed(line, parse)
            if parsed is not None:
                yield parsed
            elif broken is not None:
                broken[file.name] += 1


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as lines:
            yield from filter(None, map(bytes.strip, lines))
    except FileNotFoundError:
        return


def _parsed(line: bytes, parse: Parse[T]) -> T | None:
    try:
        return parse(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _spans_in(request: dict[str, Any]) -> list[SpanRecord]:
    return [
        _span(span)
        for resource in request["resourceSpans"]
        for scope in resource.get("scopeSpans", ())
        for span in scope.get("spans", ())
    ]


def _span(span: dict[str, Any]) -> SpanRecord:
    return SpanRecord(
        trace_id=str(span["traceId"]),
        span_id=str(span["spanId"]),
        parent_id=str(span["parentSpanId"]) if span.get("parentSpanId") else None,
        name=str(span.get("name", "")),
        start=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
        status=_STATUSES.get(span.get("status", {}).get("code", 0), "unset"),
        attributes=_attributes(span),
        events=tuple(map(_event, span.get("events", ()))),
        description=str(span.get("status", {}).get("message", "")),
    )


def _event(event: dict[str, Any]) -> EventRecord:
    name = str(event.get("name", ""))
    return EventRecord(name, int(event.get("timeUnixNano", 0)), _attributes(event))


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {str(item["key"]): _value(item.get("value")) for item in holder.get("attributes", ())}


def _value(encoded: dict[str, Any] | None) -> Any:
    """What an OTLP `AnyValue` holds. Integers are text in JSON, since they may be long."""
    for kind, value in (encoded or {}).items():
        if kind == "intValue":
            return int(value)
        if kind == "doubleValue":
            return float(value)
        if kind == "arrayValue":
            return tuple(_value(item) for item in value.get("values", ()))
        if kind == "kvlistValue":
            return {str(item["key"]): _value(item.get("value")) for item in value.get("values", ())}
        return base64.b64decode(value) if kind == "bytesValue" else value
    return None


Labels = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class _Point:
    """One data point of a counter. `process` tells apart who counted."""

    name: str
    labels: Labels
    process: Labels
    start: int
    delta: bool
    value: float


def _points_in(request: dict[str, Any]) -> list[_Point]:
    return [
        _point(metric, point, _labels(resource.get("resource", {})))
        for resource in request["resourceMetrics"]
        for scope in resource.get("scopeMetrics", ())
        for metric in scope.get("metrics", ())
        for point in metric.get("sum", {}).get("dataPoints", ())
        if metric["sum"].get("isMonotonic")
    ]


def _point(metric: dict[str, Any], point: dict[str, Any], process: Labels) -> _Point:
    value = int(point["asInt"]) if "asInt" in point else float(point.get("asDouble", 0))
    delta = metric["sum"].get("aggregationTemporality") == _DELTA
    start = int(point.get("startTimeUnixNano", 0))
    return _Point(str(metric["name"]), _labels(point), process, start, delta, value)


def _labels(holder: dict[str, Any]) -> Labels:
    # As text where a value cannot be a key: lists are tuples by now, maps are not.
    found = _attributes(holder)
    return tuple(sorted((name, str(v) if isinstance(v, dict) else v) for name, v in found.items()))


class _Totals:
    """Adds up what each process counted last; what came as a difference is added at once."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, Labels], dict[tuple[Labels, int], float]] = defaultdict(dict)

    def add(self, point: _Point) -> None:
        series = self._last[point.name, point.labels]
        # The start is a part of it, because a process id or a service instance
        # may be used again, and a counter may begin anew in the same process.
        counted = (point.process, 0 if point.delta else point.start)
        series[counted] = point.value + (series.get(counted, 0) if point.delta else 0)

    def counters(self) -> list[CounterValue]:
        found = [
            (name, dict(labels), sum(counted.values()))
            for (name, labels), counted in self._last.items()
        ]
        return sorted(found, key=lambda counter: (counter[0], str(counter[1])))


# --- trees -------------------------------------------------------------------
def traces_of(spans: Iterable[SpanRecord]) -> list[list[SpanRecord]]:
    """SPANS by their traces, the trace that began first at the front."""
    found: dict[str, list[SpanRecord]] = defaultdict(list)
    for span in spans:
        found[span.trace_id].append(span)
    return sorted(found.values(), key=lambda trace: min(span.start for span in trace))


def tree_of(spans: Sequence[SpanRecord]) -> Tree:
    """The SPANS of one trace as a tree, with what was said in them, in the order of time.

    Times are seconds since the trace began. Spans whose parent is not among
    them are below a node of their own. Raises `ValueError` where there is none.
    """
    if not spans:
        raise ValueError("tree_of() got no spans; give it those of one trace.")
    grower = _Grower(spans)
    tree = Tree(Text(f"trace {_line(spans[0].trace_id)}", "bold"), guide_style="dim")
    grower.grow(tree, grower.roots())
    # In this order: what is in a ring is what neither of the others led to.
    for heading, tops in ((MISSING_PARENT, grower.orphans), (RING, grower.left)):
        found = tops()
        if found:
            grower.grow(tree.add(Text(heading, "yellow")), found)
    return tree


class _Grower:
    """Puts spans into a tree, each of them once, however their parents are entangled."""

    def __init__(self, spans: Sequence[SpanRecord]) -> None:
        self._spans = sorted(spans, key=lambda span: (span.start, span.end))
        self._ids = {span.span_id for span in spans}
        self._origin = self._spans[0].start
        self._shown: set[str] = set()
        self._children: dict[str | None, list[SpanRecord]] = defaultdict(list)
        for span in self._spans:
            self._children[span.parent_id].append(span)

    def roots(self) -> list[SpanRecord]:
        """The spans that began the trace."""
        return self._children[None]

    def orphans(self) -> list[SpanRecord]:
        """The spans whose parent is not among these."""
        missing = set(self._children) - self._ids - {None}
        return [span for span in self._spans if span.parent_id in missing]

    def left(self) -> list[SpanRecord]:
        """The spans that are not in the tree yet."""
        return [span for span in self._spans if span.span_id not in self._shown]

    def grow(self, tree: Tree, tops: Iterable[SpanRecord]) -> None:
        """Add TOPS and all below them to TREE. Not recursive: a trace may be deep."""
        waiting = [(self._add_span(tree, top), top) for top in tops]
        while waiting:
            node, span = waiting.pop()
            for item in self._inside(span):
                if isinstance(item, EventRecord):
                    self._add_event(node, item, span)
                elif item.span_id not in self._shown:
                    waiting.append((self._add_span(node, item), item))

    def _inside(self, span: SpanRecord) -> list[SpanRecord | EventRecord]:
        """The events of SPAN and the spans below it, by the time they happened or began."""
        inside: list[SpanRecord | EventRecord] = [*span.events, *self._children[span.span_id]]
        return sorted(inside, key=_time_of)

    def _add_span(self, tree: Tree, span: SpanRecord) -> Tree:
        self._shown.add(span.span_id)
        return tree.add(_span_line(span))

    def _add_event(self, tree: Tree, event: EventRecord, span: SpanRecord) -> None:
        line = _event_line(event, span)
        if line is not None and not self._comes_from_below(event, span):
            tree.add(Text.assemble((f"{offset(event.time - self._origin)}  ", "dim"), line))

    def _comes_from_below(self, event: EventRecord, span: SpanRecord) -> bool:
        """Whether EVENT is an exception that passed through SPAN: it is told where it began."""
        return event.name == _EXCEPTION and any(
            _same_exception(event, other)
            for child in self._children[span.span_id]
            for other in child.events
        )


def _same_exception(one: EventRecord, other: EventRecord) -> bool:
    return other.name == _EXCEPTION and all(
        one.attributes.get(name) == other.attributes.get(name)
        for name in (_EXCEPTION_TYPE, _EXCEPTION_MESSAGE)
    )


def _time_of(item: SpanRecord | EventRecord) -> int:
    return item.time if isinstance(item, EventRecord) else item.start


def _span_line(span: SpanRecord) -> Text:
    mark, colour = MARKS.get(span.result or "", ("•", "dim"))
    line = Text.assemble((f"{mark} ", colour), (_line(span.name) or "(no name)", "bold"))
    line.append(f"  {duration(span.end - span.start)}", "cyan")
    if span.result not in (None, "success"):
        line.append(f"  {_line(span.result)}", colour)
    if span.attributes.get(signals.INCOMPLETE.name):
        line.append("  (its process left before its end)", "yellow")
    dropped = span.attributes.get(signals.EVENTS_DROPPED.name)
    if dropped:
        line.append(f"  ({_line(dropped)} statuses left out)", "dim")
    return line


def _event_line(event: EventRecord, span: SpanRecord) -> Text | None:
    """How EVENT is told: a status, an exception, a change of state; None if that is a usual one."""
    if signals.MESSAGE.name in event.attributes:
        return _status_line(event, span)
    if event.name == _EXCEPTION:
        return _exception_line(event)
    if signals.STATE_TYPE.name in event.attributes:
        state = _line(event.attributes.get(signals.STATE_NAME.name, event.name))
        return None if state in USUAL_STATES else Text(state, "dim italic")
    return Text(_line(event.name), "dim")


def _status_line(event: EventRecord, span: SpanRecord) -> Text:
    level = _line(event.attributes.get(signals.LEVEL.name, "info"))
    colour = COLOURS.get(level, "")
    line = Text.assemble((f"{level:<9}", colour or "dim"))
    line.append(_line(event.attributes[signals.MESSAGE.name]), colour)
    stage = event.attributes.get(signals.STAGE.name)
    # Below its stage's own span the stage need not be said again.
    if stage and stage != span.name:
        line.append(f"  [{_line(stage)}]", "dim")
    return line


def _exception_line(event: EventRecord) -> Text:
    kind = _line(event.attributes.get(_EXCEPTION_TYPE, "Exception")).rpartition(".")[2]
    return Text(f"{kind}: {_line(event.attributes.get(_EXCEPTION_MESSAGE, ''))}", "red")


def _line(value: object) -> str:
    # The file may be anybody's: no control characters on the reader's terminal.
    return sanitize.line(value, limit=sanitize.TEXT_LIMIT)


def offset(nanoseconds: int) -> str:
    """NANOSECONDS since a trace began, for the eye."""
    return f"{nanoseconds / 1e9:+6.2f} s"


def duration(nanoseconds: int) -> str:
    """NANOSECONDS as a length of time for the eye."""
    seconds = max(0, nanoseconds) / 1e9
    if seconds < 0.001:
        return "<1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


# --- the table ---------------------------------------------------------------
def counters_table(counters: Sequence[CounterValue], *, title: str | None = None) -> Table:
    """COUNTERS as a table. What says the same in all of them stands once, below it."""
    same = _same([attributes for _, attributes, _ in counters])
    caption = Text("in all that have it: " + _pairs(same)) if same else None
    table = Table(title=title, caption=caption, caption_justify="left")
    table.add_column("counter", no_wrap=True)
    table.add_column("attributes")
    table.add_column("total", justify="right")
    before = ""
    for name, attributes, value in counters:
        own = {key: item for key, item in attributes.items() if key not in same}
        table.add_row(
            Text(_line(name) if name != before else ""), Text(_pairs(own)), Text(_number(value))
        )
        before = name
    return table


def _same(all_attributes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of what tells whose run it was: the attributes that have one value only."""
    found = {}
    for attribute in _WHOSE:
        values = {each[attribute.name] for each in all_attributes if attribute.name in each}
        if len(values) == 1:
            found[attribute.name] = values.pop()
    return found


def _pairs(attributes: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{_line(name).removeprefix(_OUR_PREFIX)}={_line(value)}"
        for name, value in attributes.items()
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) and value == int(value) else f"{value:g}"


def show(folder: Path, console: Console) -> None:
    """Print all traces in FOLDER, then the counters, then what could not be read."""
    broken: Counter[str] = Counter()
    traces = traces_of(read_spans(folder, broken=broken))
    counters = read_counters(folder, broken=broken)
    for trace in traces:
        console.print(tree_of(trace), "")
    if counters:
        console.print(counters_table(counters))
    if not traces and not counters:
        console.print(Text(f"There is no telemetry in {folder}."))
    for name, count in broken.items():
        console.print(Text(f"{name}: lines that could not be read: {count}", "yellow"))
