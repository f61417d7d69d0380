"""Statuses as Prefect events: numbered, in batches, each run apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import msgspec
import pytest
from prefect.events.clients import AssertingEventsClient
from prefect.events.schemas.events import Event
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_otel_status.model import Run, StageStart
from prefect_otel_status.sinks.base import Sink
from prefect_otel_status.sinks.prefect_event import (
    SIZE_LIMIT,
    PrefectEventSink,
    emit_to_prefect,
    to_payload,
)
from tests.support.records import (
    FLOW_RUN_ID,
    NOW,
    SECOND,
    SPAN_ID,
    TASK_RUN_ID,
    TRACE_ID,
    cleaner,
    envelopes,
    flow_run,
    log_line,
    stage_end,
    status,
    task_run,
    transition,
)

SAFE = 256_000
"""Bytes that a stock subscriber takes without being cut off."""

WHERE: ContextVar[str] = ContextVar("where", default="nowhere")


class Events:
    """A sink, and the events that it sent: each run's id and messages."""

    def __init__(self, interval: float = 1.0) -> None:
        self.sent: list[tuple[str, list[str]]] = []
        self.payloads: list[dict[str, Any]] = []
        self.where: list[str] = []
        self.refused: set[str] = set()
        self.sink = PrefectEventSink(interval=interval, emit=self._emit)

    def _emit(self, run: Run, payload: dict[str, Any]) -> None:
        if run.id in self.refused:
            raise ValueError("too large")
        self.sent.append((run.id, [said["message"] for said in payload["statuses"]]))
        self.payloads.append(payload)
        self.where.append(WHERE.get())

    def stages(self) -> list[list[dict[str, Any]]]:
        """The stages in each event that was sent."""
        return [payload.get("stages", []) for payload in self.payloads]

    def tell(self, *records: Any) -> None:
        self.sink.accept(envelopes(*records, context=copy_context()))

    def say(self, *messages: str, **changes: Any) -> None:
        said = [status(message, **changes) for message in messages]
        self.sink.accept(envelopes(*said, context=copy_context()))


def start(stage: str = "load", **changes: Any) -> StageStart:
    """A stage of the run of `train` opened."""
    return StageStart(stage, **{"run": flow_run(), "started": NOW, "span_id": SPAN_ID, **changes})


def end(stage: str = "load", **changes: Any) -> Any:
    """It closed."""
    times = {"started": NOW, "ended": NOW + 2 * SECOND, "span_id": SPAN_ID}
    return stage_end(stage, **{**times, **changes})


LOAD = {"name": "load", "span_id": f"{SPAN_ID:016x}", "started": NOW}
LOADED = {**LOAD, "ended": NOW + 2 * SECOND, "result": "success"}


# --- when ----------------------------------------------------------------------


def test_the_first_status_of_a_run_goes_at_once() -> None:
    events = Events()
    events.say("a")
    assert events.sent == []
    assert events.sink.tick(NOW) == NOW + SECOND
    assert events.sent == [(FLOW_RUN_ID, ["a"])]


def test_the_rest_goes_once_an_interval() -> None:
    events = Events(interval=0.5)
    events.say("a")
    events.sink.tick(NOW)
    events.say("b")
    events.say("c")
    assert events.sink.tick(NOW + SECOND // 2 - 1) == NOW + SECOND // 2
    assert events.sent[1:] == []
    assert events.sink.tick(NOW + SECOND // 2) == NOW + SECOND
    assert events.sent[1:] == [(FLOW_RUN_ID, ["b", "c"])]


@pytest.mark.parametrize("level", ["error", "critical"])
def test_an_error_goes_at_once_with_what_was_said_before(level: str) -> None:
    events = Events()
    events.say("a")
    events.sink.tick(NOW)
    events.say("b")
    events.say("broken", level=level)
    assert events.sink.tick(NOW + 1) == NOW + 1 + SECOND
    assert events.sent[1:] == [(FLOW_RUN_ID, ["b", "broken"])]


def test_flush_sends_everything() -> None:
    events = Events()
    events.say("a")
    events.sink.tick(NOW)
    events.say("b")
    events.say("c", run=task_run())
    events.sink.flush()
    assert events.sent[1:] == [(FLOW_RUN_ID, ["b"]), (TASK_RUN_ID, ["c"])]
    assert events.sink.tick(NOW) is None


def test_each_run_has_its_own_time() -> None:
    events = Events()
    events.say("a")
    events.sink.tick(NOW)
    events.say("b", run=task_run())
    events.say("c")
    assert events.sink.tick(NOW + 1) == NOW + SECOND
    assert events.sent[1:] == [(TASK_RUN_ID, ["b"])]


def test_a_run_that_was_silent_for_an_interval_is_forgotten() -> None:
    events = Events()
    events.say("a")
    assert events.sink.tick(NOW) == NOW + SECOND
    assert events.sink.tick(NOW + SECOND) is None
    events.say("b")
    assert events.sink.tick(NOW + SECOND + 1) == NOW + 2 * SECOND + 1
    assert [messages for _, messages in events.sent] == [["a"], ["b"]]


def test_without_an_interval_every_tick_sends() -> None:
    events = Events(interval=0)
    for number, message in enumerate("abc"):
        events.say(message)
        events.sink.tick(NOW + number)
    assert [messages for _, messages in events.sent] == [["a"], ["b"], ["c"]]


def test_with_nothing_said_there_is_nothing_to_send() -> None:
    events = Events()
    assert isinstance(events.sink, Sink)
    events.sink.flush()
    assert (events.sink.tick(NOW), events.sent) == (None, [])


# --- what ----------------------------------------------------------------------


def test_only_statuses_of_a_run_that_is_known_here_are_sent() -> None:
    events = Events()
    events.say("outside", run=None)
    context = copy_context()
    events.sink.accept(envelopes(transition(), log_line(), context=context))
    events.sink.accept(envelopes(status("without a context")))
    events.sink.flush()
    assert events.sent == []


def test_an_event_holds_its_version_and_whole_statuses() -> None:
    events = Events()
    events.say("a", sequence=7)
    events.sink.flush()
    assert events.payloads == [
        {
            "version": 1,
            "statuses": [
                {
                    "template": "a",
                    "message": "a",
                    "level": "info",
                    "attempt": 1,
                    "sequence": 7,
                    "timestamp": NOW,
                    "trace_id": f"{TRACE_ID:032x}",
                    "span_id": f"{SPAN_ID:016x}",
                }
            ],
        }
    ]


def test_a_payload_says_all_that_a_status_says() -> None:
    said = status(
        "Scored {model}",
        message="Scored bert",
        event="scored",
        stage="score",
        level="warning",
        progress=0.5,
        attributes={"model": "bert", "loss": float("nan"), "sizes": (1, 2)},
        bound={"model.version": 3},
        flags=("long_message",),
        attempt=2,
        sequence=9,
    )
    payload = to_payload(said)
    assert payload == {
        "template": "Scored {model}",
        "message": "Scored bert",
        "event": "scored",
        "stage": "score",
        "level": "warning",
        "progress": 0.5,
        "attributes": {"model": "bert", "loss": "nan", "sizes": [1, 2]},
        "bound": {"model.version": 3},
        "flags": ["long_message"],
        "attempt": 2,
        "sequence": 9,
        "timestamp": NOW,
        "trace_id": f"{TRACE_ID:032x}",
        "span_id": f"{SPAN_ID:016x}",
    }
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload


def test_a_bare_payload_says_only_what_there_is() -> None:
    said = status("a", trace_id=0, span_id=0, event="", stage="", progress=0.0)
    assert to_payload(said) == {
        "template": "a",
        "message": "a",
        "event": "",
        "stage": "",
        "level": "info",
        "progress": 0.0,
        "attempt": 1,
        "sequence": 1,
        "timestamp": NOW,
    }


def test_an_event_is_sent_in_the_context_of_its_run() -> None:
    events = Events()
    token = WHERE.set("in the run")
    events.say("a")
    WHERE.reset(token)
    events.sink.flush()
    assert events.where == ["in the run"]


def test_a_context_that_is_in_use_elsewhere_can_be_used() -> None:
    events, context = Events(), copy_context()
    events.sink.accept(envelopes(status("a"), context=context))
    context.run(events.sink.flush)
    assert events.sent == [(FLOW_RUN_ID, ["a"])]


# --- stages --------------------------------------------------------------------


def test_stages_go_with_the_statuses_of_their_run() -> None:
    events = Events()
    events.tell(start(), status("a"), end())
    events.sink.tick(NOW)
    assert events.sent == [(FLOW_RUN_ID, ["a"])]
    assert events.stages() == [[LOAD, LOADED]]
    events.say("b")
    events.sink.flush()
    assert events.stages()[1:] == [[]]


def test_stages_go_alone_where_nothing_is_said() -> None:
    events = Events()
    events.tell(start())
    assert events.sink.tick(NOW) == NOW + SECOND
    assert events.payloads == [{"version": 1, "statuses": [], "stages": [LOAD]}]
    events.tell(end())
    assert events.sink.tick(NOW + SECOND - 1) == NOW + SECOND
    assert events.stages() == [[LOAD]]
    events.sink.tick(NOW + SECOND)
    assert events.stages() == [[LOAD], [LOADED]]


def test_a_stage_says_all_that_is_known_of_it() -> None:
    bound = {"model.name": "bert", "loss": float("nan"), "sizes": (1, 2)}
    events = Events()
    events.tell(start(parent_span_id=7), end(parent_span_id=7, result="failure", bound=bound))
    events.sink.flush()
    above = {"parent_span_id": f"{7:016x}"}
    known = {"model.name": "bert", "loss": "nan", "sizes": [1, 2]}
    assert events.stages() == [
        [{**LOAD, **above}, {**LOADED, **above, "result": "failure", "bound": known}]
    ]
    assert json.loads(json.dumps(events.payloads[0], allow_nan=False)) == events.payloads[0]


def test_a_stage_of_another_run_goes_in_an_event_of_its_own() -> None:
    events = Events()
    events.tell(start(), start("score", run=task_run()))
    events.sink.flush()
    assert [run_id for run_id, _ in events.sent] == [FLOW_RUN_ID, TASK_RUN_ID]
    assert [[stage["name"] for stage in stages] for stages in events.stages()] == [
        ["load"],
        ["score"],
    ]


def test_stages_outside_a_run_or_without_a_span_are_not_sent() -> None:
    events = Events()
    events.tell(start(run=None), end(run=None), start(span_id=0), end(span_id=0))
    events.sink.accept(envelopes(start(), end()))  # without a context
    events.sink.flush()
    assert events.payloads == []


def test_stages_go_with_the_first_of_many_events() -> None:
    events = Events()
    events.tell(start())
    events.say(*["x" * 4000] * 100)
    events.sink.flush()
    assert events.stages() == [[LOAD], [], [], []]


def test_many_stages_are_sent_in_events_of_a_safe_size() -> None:
    events = Events()
    events.tell(*(start() for _ in range(20_000)))
    events.sink.flush()
    assert sum(len(stages) for stages in events.stages()) == 20_000
    assert max(len(msgspec.json.encode(payload)) for payload in events.payloads) < SAFE


def test_a_child_forgets_the_stages_of_its_parent() -> None:
    events = Events()
    events.tell(start())
    events.sink.after_fork()
    events.sink.flush()
    assert events.payloads == []


# --- how much ------------------------------------------------------------------


def test_many_statuses_are_sent_in_events_of_a_safe_size() -> None:
    events = Events()
    messages = [f"{number}" + "x" * 4000 for number in range(200)]
    events.say(*messages)
    events.sink.flush()
    assert [message for _, sent in events.sent for message in sent] == messages
    assert len(events.payloads) == 8
    assert max(len(msgspec.json.encode(payload)) for payload in events.payloads) < SAFE


def test_statuses_just_within_the_limit_go_together() -> None:
    events = Events()
    size = len(msgspec.json.encode(to_payload(cleaner().clean(status("x" * 4000)))))
    count = SIZE_LIMIT // size
    events.say(*["x" * 4000] * (count + 1))
    events.sink.flush()
    assert [len(sent) for _, sent in events.sent] == [count, 1]


@pytest.mark.parametrize(
    ("count", "value"),
    [(1000, "x" * 10_000), (1000, "🙂" * 10_000), (4, ("x" * 4000,) * 128)],
    ids=["ascii", "emoji", "lists"],
)
def test_not_even_one_status_makes_an_event_too_large(count: int, value: Any) -> None:
    events = Events()
    events.say("a", attributes={f"a{number}": value for number in range(count)})
    events.sink.flush()
    assert [messages for _, messages in events.sent] == [["a"]]
    size = len(msgspec.json.encode(events.payloads[0]))
    assert size < SAFE


# --- failing -------------------------------------------------------------------


def test_at_flush_a_run_whose_event_fails_does_not_keep_another_from_sending() -> None:
    events = Events()
    events.refused.add(FLOW_RUN_ID)
    events.say("a")
    events.say("b", run=task_run())
    with pytest.raises(ValueError, match="too large"):
        events.sink.flush()
    assert events.sent == [(TASK_RUN_ID, ["b"])]


def test_at_a_tick_a_run_whose_event_fails_does_not_keep_another_from_sending() -> None:
    events = Events()
    events.refused.add(FLOW_RUN_ID)
    events.say("a")
    events.say("b", run=task_run())
    with pytest.raises(ValueError, match="too large"):
        events.sink.tick(NOW)
    assert events.sent == [(TASK_RUN_ID, ["b"])]


# --- Prefect's own worker ------------------------------------------------------


@pytest.fixture
def sent_to_prefect() -> Iterator[Callable[[], list[Event]]]:
    """Tells what Prefect's own worker has sent."""

    def sent() -> list[Event]:
        worker.wait_until_empty()
        assert AssertingEventsClient.last is not None
        return AssertingEventsClient.last.pop_events()

    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        worker = EventsWorker.instance()
        yield sent
        worker.drain()
    EventsWorker.set_client_override(None)
    AssertingEventsClient.reset()


@pytest.mark.parametrize(
    ("run", "resource"),
    [
        (
            flow_run(),
            {
                "prefect.resource.id": f"prefect.flow-run.{FLOW_RUN_ID}",
                "prefect.resource.name": "wise-owl",
            },
        ),
        (
            task_run(name=""),
            {
                "prefect.resource.id": f"prefect.task-run.{TASK_RUN_ID}",
                "prefect.resource.name": TASK_RUN_ID,
            },
        ),
    ],
)
def test_an_event_is_about_its_run(
    run: Run, resource: dict[str, str], sent_to_prefect: Callable[[], list[Event]]
) -> None:
    emit_to_prefect(run, {"version": 1, "statuses": []})
    (event,) = sent_to_prefect()
    assert event.event == "prefect-otel-status.statuses"
    assert dict(event.resource) == resource
    assert event.payload == {"version": 1, "statuses": []}


def test_by_default_events_go_to_prefect(sent_to_prefect: Callable[[], list[Event]]) -> None:
    sink = PrefectEventSink()
    sink.accept(envelopes(status("a"), context=copy_context()))
    sink.flush()
    (event,) = sent_to_prefect()
    assert event.payload == {"version": 1, "statuses": [to_payload(status("a"))]}
