"""Traces and counters read back from OTLP JSON lines, as trees and a table."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import Counter as SdkCounter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import NonRecordingSpan as Remote
from opentelemetry.trace import Span, SpanContext, StatusCode, TraceFlags, set_span_in_context
from rich.console import Console, RenderableType

from prefect_otel_status import signals
from prefect_otel_status.exporters.json_lines import JsonMetricExporter, JsonSpanExporter
from prefect_otel_status.trees import (
    MISSING_PARENT,
    RING,
    SpanRecord,
    counters_table,
    read_counters,
    read_spans,
    show,
    traces_of,
    tree_of,
)
from tests.support.records import NOW, SECOND

SIZE = 1_000_000


class Recording:
    """Spans made by the real SDK, at times in seconds after `NOW`, in a folder."""

    def __init__(self, folder: Path, *, size: int = SIZE) -> None:
        provider = TracerProvider(resource=Resource({"service.name": "tests"}))
        provider.add_span_processor(SimpleSpanProcessor(JsonSpanExporter(folder, size=size)))
        self._tracer = provider.get_tracer(signals.SCOPE)

    def span(self, name: str, start: float, parent: Span | None = None, **attributes: Any) -> Span:
        context = set_span_in_context(parent) if parent is not None else None
        names = {key.replace("__", "."): value for key, value in attributes.items()}
        return self._tracer.start_span(name, context, start_time=at(start), attributes=names)


def at(seconds: float) -> int:
    return NOW + round(seconds * SECOND)


def say(span: Span, when: float, message: str, **attributes: str) -> None:
    """Add a status to SPAN as our sinks do."""
    named = {getattr(signals, key.upper()).name: value for key, value in attributes.items()}
    span.add_event("template", {signals.MESSAGE.name: message, **named}, at(when))


def rendered(*parts: RenderableType, width: int = 90) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(*parts, sep="\n")
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def record(span_id: str, parent_id: str | None = None, **changes: Any) -> SpanRecord:
    usual = SpanRecord("0" * 31 + "1", span_id, parent_id, span_id, NOW, NOW + SECOND)
    return replace(usual, **changes)


# --- reading spans -----------------------------------------------------------
def test_a_span_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    root = recording.span("RUN deploy", 0)
    child = recording.span("train", 1, root, text="a", whole=2**62, real=0.5, yes=True, many=(1, 2))
    child.add_event("said", {"model": "svc"}, at(1.5))
    child.set_status(StatusCode.ERROR, "no")
    child.end(at(2))
    root.end(at(3))

    found, inner = read_spans(tmp_path)

    assert (found.name, found.parent_id, found.start, found.end) == (
        "RUN deploy",
        None,
        at(0),
        at(3),
    )
    assert inner.trace_id == found.trace_id == f"{root.get_span_context().trace_id:032x}"
    assert inner.parent_id == found.span_id == f"{root.get_span_context().span_id:016x}"
    assert (found.status, inner.status) == ("unset", "error")
    assert inner.attributes == {
        "text": "a", "whole": 2**62, "real": 0.5, "yes": True, "many": (1, 2)
    }  # fmt: skip
    (event,) = inner.events
    assert (event.name, event.time, event.attributes) == ("said", at(1.5), {"model": "svc"})


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    values = {
        "map": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}},
        "bytes": {"bytesValue": "AAE="},
        "list": {"arrayValue": {}},
        "nothing": {},
    }
    attributes = [{"key": key, "value": value} for key, value in values.items()]
    span = {"traceId": "1", "spanId": "2", "startTimeUnixNano": "3", "endTimeUnixNano": "4"}
    write(tmp_path / "traces.jsonl", spans_line({**span, "attributes": attributes}))

    (found,) = read_spans(tmp_path)

    assert found.attributes == {"map": {"a": 1}, "bytes": b"\0\1", "list": (), "nothing": None}


def spans_line(*spans: dict[str, Any]) -> bytes:
    request = {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}
    return json.dumps(request).encode()


def write(file: Path, *lines: bytes) -> None:
    file.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_no_file_means_no_spans_and_no_counters(tmp_path: Path, folder: str) -> None:
    assert read_spans(tmp_path / folder) == []
    assert read_counters(tmp_path / folder) == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"resourceSpans":[{"scopeSp',
        b"not json",
        b"\xff\xfe\x00",
        b"[]",
        b"7",
        b"{}",
        b'{"resourceSpans":3}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"1"}]}]}]}',
        b'{"resourceSpans":' + b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:24]),
)
def test_a_broken_line_is_skipped_and_counted(tmp_path: Path, line: bytes) -> None:
    Recording(tmp_path).span("before", 0).end()
    with (tmp_path / "traces.jsonl").open("ab") as file:
        file.write(line + b"\n\n")
    Recording(tmp_path).span("after", 1).end()
    broken: Counter[str] = Counter()

    assert [span.name for span in read_spans(tmp_path, broken=broken)] == ["before", "after"]
    assert broken == {"traces.jsonl": 1}


def test_the_rotated_file_is_read_first(tmp_path: Path) -> None:
    recording = Recording(tmp_path, size=1)
    recording.span("older", 0).end(at(1))
    recording.span("newer", 1).end(at(2))

    assert (tmp_path / "traces.jsonl.1").is_file()
    assert [span.name for span in read_spans(tmp_path)] == ["older", "newer"]


def test_a_span_that_was_sent_twice_is_there_once(tmp_path: Path) -> None:
    span = {"traceId": "1", "spanId": "2", "startTimeUnixNano": "3", "endTimeUnixNano": "4"}
    write(tmp_path / "traces.jsonl.1", spans_line({**span, "name": "sent"}))
    write(tmp_path / "traces.jsonl", spans_line({**span, "name": "sent again"}))

    assert [span.name for span in read_spans(tmp_path)] == ["sent again"]


# --- trees -------------------------------------------------------------------
def test_a_trace_is_told_in_the_order_of_time(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    root = recording.span("RUN deploy", 0, cicd__pipeline__result="failure")
    say(root, 5, "Rolled back to v1", level="error", stage="rollback")
    stage = recording.span("train", 0.25, root, cicd__pipeline__result="success")
    say(stage, 1, "Trained svc", level="info", stage="train")
    task = recording.span("fit", 0.5, stage, cicd__pipeline__task__run__result="skip")
    task.end(at(0.5004))
    stage.end(at(1.1))
    root.end(at(200))
    (trace,) = traces_of(read_spans(tmp_path))

    heading, *lines = rendered(tree_of(trace)).splitlines()

    assert heading == f"trace {trace[0].trace_id}"
    assert lines == [
        "└── ✗ RUN deploy  3 min 20 s  failure",
        "    ├── ✓ train  850 ms",
        "    │   ├── ✓ fit  <1 ms  skip",
        "    │   └──  +1.00 s  info     Trained svc",
        "    └──  +5.00 s  error    Rolled back to v1  [rollback]",
    ]


def test_of_prefects_states_only_the_unusual_are_told(tmp_path: Path) -> None:
    span = Recording(tmp_path).span("score", 0)
    for when, name in enumerate(("Running", "AwaitingRetry", "Retrying", "Completed")):
        state = {signals.STATE_TYPE.name: "ANY", signals.STATE_NAME.name: name}
        span.add_event(name, state, at(when))
    span.end(at(4))

    shown = rendered(tree_of(read_spans(tmp_path)))

    assert [line.split()[-1] for line in shown.splitlines()[2:]] == ["AwaitingRetry", "Retrying"]


def test_an_exception_is_told_where_it_began(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    task = recording.span("score", 0)
    stage = recording.span("canary", 1, task)
    for span in (stage, task):
        span.record_exception(ValueError("no such model"), timestamp=at(2))
        span.set_status(StatusCode.ERROR)
        span.end(at(2))

    assert rendered(tree_of(read_spans(tmp_path))).splitlines()[1:] == [
        "└── ✗ score  2.00 s  failure",
        "    └── ✗ canary  1.00 s  failure",
        "        └──  +2.00 s  ValueError: no such model",
    ]


def test_a_foreign_event_is_told_by_its_name(tmp_path: Path) -> None:
    span = Recording(tmp_path).span("http", 0)
    span.add_event("request sent", timestamp=at(0.5))
    span.end(at(1))

    assert rendered(tree_of(read_spans(tmp_path))).splitlines()[-1].endswith("s  request sent")


def test_what_a_span_left_out_and_an_early_end_are_said() -> None:
    marks = {signals.INCOMPLETE.name: True, signals.EVENTS_DROPPED.name: 3}

    line = rendered(tree_of([record("run", attributes=marks)])).splitlines()[1]

    assert line == "└── • run  1.00 s  (its process left before its end)  (3 statuses left out)"


def test_spans_without_their_parent_are_below_a_node_that_says_so(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    killed = Remote(SpanContext(1, 2, True, TraceFlags(TraceFlags.SAMPLED)))
    for name, start in (("canary", 2), ("train", 0)):
        recording.span(name, start, killed).end(at(start + 1))

    assert rendered(tree_of(read_spans(tmp_path))).splitlines()[1:] == [
        f"└── {MISSING_PARENT}",
        "    ├── • train  1.00 s",
        "    └── • canary  1.00 s",
    ]


@pytest.mark.parametrize(
    "spans",
    [
        [record("a", "a")],
        [record("a", "b"), record("b", "a")],
        [record("root"), record("a", "b"), record("b", "c"), record("c", "a"), record("d", "c")],
    ],
    ids=["itself", "each other", "a ring beside a root"],
)
def test_rings_are_shown_and_each_span_once(spans: list[SpanRecord]) -> None:
    shown = rendered(tree_of(spans))

    assert RING in shown
    assert all(shown.count(f" {span.span_id}  ") == 1 for span in spans)


def test_a_deep_trace_is_no_deep_recursion() -> None:
    spans = [record("0")] + [record(str(depth), str(depth - 1)) for depth in range(1, 3_000)]

    tree = tree_of(spans)

    depth = 0
    while tree.children:
        (tree,) = tree.children
        depth += 1
    assert depth == len(spans)


def test_no_spans_are_no_tree() -> None:
    with pytest.raises(ValueError, match="give it those of one trace"):
        tree_of([])


def test_text_cannot_style_or_steer_the_terminal(tmp_path: Path) -> None:
    span = Recording(tmp_path).span("[red]deploy[/red]", 0)
    say(span, 0, "[bold]loud[/bold] \x1b[2Jgone\nnext", level="[dim]", stage="[/]")
    span.end(at(1))

    shown = rendered(tree_of(read_spans(tmp_path)))

    assert "[red]deploy[/red]" in shown
    assert "[bold]loud[/bold] gone next  [[/]]" in shown
    assert "\x1b" not in shown


# --- counters ----------------------------------------------------------------
class Process:
    """A process that counts, and exports all of it whenever it is told to."""

    def __init__(self, folder: Path, *, delta: bool = False, size: int = SIZE) -> None:
        temporality = {SdkCounter: AggregationTemporality.DELTA} if delta else {}
        self._reader = InMemoryMetricReader(preferred_temporality=temporality)
        self._exporter = JsonMetricExporter(folder, size=size)
        provider = MeterProvider([self._reader], Resource({"service.name": "tests"}))
        self.meter: Meter = provider.get_meter(signals.SCOPE)
        self._counter = self.meter.create_counter("messages")

    def count(self, amount: float = 1, **attributes: str) -> Process:
        self._counter.add(amount, attributes)
        return self

    def export(self) -> Process:
        self._exporter.export(self._reader.get_metrics_data())
        return self


def test_processes_are_added_and_repeated_exports_are_not(tmp_path: Path) -> None:
    first, second = Process(tmp_path), Process(tmp_path)
    first.count(2, stage="train").count(1, stage="canary").export()
    second.count(5, stage="train").export().export()
    first.count(1, stage="train").export()

    assert read_counters(tmp_path) == [
        ("messages", {"stage": "canary"}, 1),
        ("messages", {"stage": "train"}, 8),
    ]


def test_differences_are_added_up(tmp_path: Path) -> None:
    Process(tmp_path, delta=True).count(2).export().count(3).export()
    Process(tmp_path, delta=True).count(0.5).export()

    assert read_counters(tmp_path) == [("messages", {}, 5.5)]


def test_only_what_rises_is_a_counter(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.meter.create_up_down_counter("active").add(1)
    process.meter.create_gauge("score").set(0.9)
    process.meter.create_histogram("duration").record(1.0)
    process.count().export()

    assert [name for name, _, _ in read_counters(tmp_path)] == ["messages"]


def test_the_counters_of_a_rotated_file_are_not_lost(tmp_path: Path) -> None:
    Process(tmp_path, size=1).count(4).export()
    Process(tmp_path, size=1).count(1).export()

    assert (tmp_path / "metrics.jsonl.1").is_file()
    assert read_counters(tmp_path) == [("messages", {}, 5)]


def test_a_broken_line_of_counters_is_counted_and_changes_no_total(tmp_path: Path) -> None:
    Process(tmp_path).count(3).export()
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(whole[:-40])
    broken: Counter[str] = Counter()

    assert read_counters(tmp_path, broken=broken) == [("messages", {}, 3)]
    assert broken == {"metrics.jsonl": 1}


def test_the_table_says_once_whose_runs_they_were() -> None:
    whose = {signals.PIPELINE_NAME.name: "deploy"}
    counters: Sequence[tuple[str, dict[str, Any], float]] = [
        ("errors", {**whose, "error.type": "[b]Failed"}, 1),
        ("messages", {**whose, signals.STAGE.name: "train"}, 12),
        ("messages", {**whose, signals.STAGE.name: "canary"}, 0.5),
    ]

    assert rendered(counters_table(counters)).splitlines() == [
        "┏━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━┓",
        "┃ counter  ┃ attributes           ┃ total ┃",
        "┡━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━┩",
        "│ errors   │ error.type=[b]Failed │     1 │",
        "│ messages │ stage=train          │    12 │",
        "│          │ stage=canary         │   0.5 │",
        "└──────────┴──────────────────────┴───────┘",
        "in all that have it:",
        "cicd.pipeline.name=deploy",
    ]


def test_flows_that_differ_stay_apart_in_the_table() -> None:
    counters: Sequence[tuple[str, dict[str, Any], float]] = [
        ("messages", {signals.PIPELINE_NAME.name: name}, 1) for name in ("deploy", "train")
    ]

    shown = rendered(counters_table(counters, title="Counters"))

    assert "cicd.pipeline.name=deploy" in shown
    assert "cicd.pipeline.name=train" in shown
    assert "in all" not in shown


# --- all of it ---------------------------------------------------------------
def test_show_prints_traces_counters_and_what_could_not_be_read(tmp_path: Path) -> None:
    for start in (1, 0):
        Recording(tmp_path).span(f"RUN {start}", start).end(at(2))
    Process(tmp_path).count().export()
    with (tmp_path / "traces.jsonl").open("ab") as file:
        file.write(b"{")

    shown = shown_of(tmp_path)

    assert shown.index("RUN 0") < shown.index("RUN 1") < shown.index("messages")
    assert shown.rstrip().endswith("traces.jsonl: lines that could not be read: 1")


def test_show_says_that_there_is_nothing(tmp_path: Path) -> None:
    assert shown_of(tmp_path).startswith("There is no telemetry in")


def shown_of(folder: Path) -> str:
    console = Console(file=io.StringIO(), width=90)
    show(folder, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
