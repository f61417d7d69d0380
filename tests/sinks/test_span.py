"""Statuses as events of the span in which they were said."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span

from prefect_otel_status.buffer import EventBuffer
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.sinks.span import write_events, write_late, write_latest
from tests.support.records import NOW, SECOND, cleaner, envelope, status


class Spans:
    """A real tracer, and the whole of each span that ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")

    def start(self, time: int = NOW) -> Span:
        return self.tracer.start_span("RUN train", start_time=time)

    def ended(self) -> list[dict[str, Any]]:
        return [
            {
                "name": span.name,
                "start": span.start_time,
                "end": span.end_time,
                "attributes": dict(span.attributes or {}),
                "events": [
                    (event.name, event.timestamp, dict(event.attributes or {}))
                    for event in span.events
                ],
            }
            for span in self._exporter.get_finished_spans()
        ]


def of_message(message: str, **more: Any) -> dict[str, Any]:
    """The attributes of the event of a status."""
    return {
        "prefect_status.message": message,
        "prefect_status.template": message,
        "prefect_status.level": "info",
        "prefect_status.sequence": 1,
        "prefect_status.attempt": 1,
        **more,
    }


def buffer_of(*records: Any, limit: int = 100) -> EventBuffer:
    buffer, shared = EventBuffer(limit), cleaner()
    for record in records:
        buffer.append(Envelope(record, shared), is_error=record.is_error)
    return buffer


def test_statuses_become_events_at_their_own_times() -> None:
    spans = Spans()
    span = spans.start()
    said = [
        status("Loaded", timestamp=NOW + 1),
        status(
            "Scored {model}",
            message="Scored bert",
            event="scored",
            timestamp=NOW + 2,
            attributes={"model": "bert"},
        ),
    ]
    assert write_events(span, buffer_of(*said)) == NOW + 2
    span.end(NOW + SECOND)
    assert spans.ended() == [
        {
            "name": "RUN train",
            "start": NOW,
            "end": NOW + SECOND,
            "attributes": {},
            "events": [
                ("Loaded", NOW + 1, of_message("Loaded")),
                (
                    "scored",
                    NOW + 2,
                    of_message(
                        "Scored bert",
                        **{"prefect_status.template": "Scored {model}", "model": "bert"},
                    ),
                ),
            ],
        }
    ]


def test_a_span_without_statuses_stays_as_it_is() -> None:
    spans = Spans()
    span = spans.start()
    assert write_events(span, buffer_of()) == 0
    span.end(NOW)
    assert spans.ended() == [
        {"name": "RUN train", "start": NOW, "end": NOW, "attributes": {}, "events": []}
    ]


def test_what_was_left_out_is_counted_on_the_span() -> None:
    spans = Spans()
    span = spans.start()
    said = [status(f"m{number}", timestamp=NOW + number) for number in range(10)]
    assert write_events(span, buffer_of(*said, limit=6)) == NOW + 9
    span.end(NOW + SECOND)
    (ended,) = spans.ended()
    assert ended["attributes"] == {"prefect_status.events.dropped": 6}
    assert [name for name, _, _ in ended["events"]] == ["m0", "m1", "m8", "m9"]


def test_what_is_unsafe_does_not_reach_the_span() -> None:
    spans = Spans()
    span = spans.start()
    write_events(span, buffer_of(status("\ud800 pwd=hunter22")))
    span.end(NOW)
    (ended,) = spans.ended()
    assert ended["events"] == [("\ufffd pwd=[redacted]", NOW, of_message("\ufffd pwd=[redacted]"))]


def test_the_latest_status_is_shown_on_the_span() -> None:
    spans = Spans()
    span = spans.start()
    write_latest(span, envelope(status("Half way", stage="load", progress=0.5)))
    write_latest(span, envelope(status("Nearly there", progress=0.0)))
    write_latest(span, None)
    span.end(NOW)
    (ended,) = spans.ended()
    assert ended["attributes"] == {
        "prefect_status.message": "Nearly there",
        "prefect_status.stage": "load",
        "prefect_status.progress": 0.0,
    }


def test_a_latest_status_without_stage_and_progress_shows_its_message_alone() -> None:
    spans = Spans()
    span = spans.start()
    write_latest(span, envelope(status("Done")))
    span.end(NOW)
    (ended,) = spans.ended()
    assert ended["attributes"] == {"prefect_status.message": "Done"}


def test_a_late_status_is_held_by_a_span_of_its_own() -> None:
    spans = Spans()
    write_late(spans.start, envelope(status("Too late", timestamp=NOW + 5)))
    assert spans.ended() == [
        {
            "name": "RUN train",
            "start": NOW + 5,
            "end": NOW + 5,
            "attributes": {},
            "events": [("Too late", NOW + 5, of_message("Too late"))],
        }
    ]
