"""Prefect's events, runs and states as observations: real ones whole, hostile ones harmlessly."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_otel_status import signals
from prefect_otel_status.bridge import wire
from prefect_otel_status.bridge.parse import Parser, task_name_of, traceparent, uuid
from prefect_otel_status.bridge.records import (
    FLOW,
    TASK,
    Heartbeat,
    Observation,
    Seen,
    StateFact,
    StatusFact,
)
from prefect_otel_status.bridge.times import nanoseconds
from tests.support import histories
from tests.support.core import cleaning
from tests.support.hostile import SECRET_PARTS, SECRETS, VALUES
from tests.support.records import FLOW_RUN_ID, TASK_RUN_ID
from tests.support.replay import RecordedApi, a_parser
from tests.support.telling import is_safe

ID = "11111111-2222-4333-8444-555555555555"
OTHER_ID = "22222222-2222-4333-8444-555555555555"
AT = "2026-11-24T18:13:25.724941Z"
RECEIVED = "2026-11-24T18:13:26.000000Z"
WHEN, GOT = nanoseconds(AT), nanoseconds(RECEIVED)
SPAN = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
FLOW_RUN = {
    "prefect.resource.id": f"prefect.flow-run.{FLOW_RUN_ID}",
    "prefect.resource.name": "owl",
}
TASK_RUN = {
    "prefect.resource.id": f"prefect.task-run.{TASK_RUN_ID}",
    "prefect.resource.name": "score-0",
}
OF_RUN = {**FLOW_RUN, "prefect.resource.role": "flow-run"}
RELATED = [
    OF_RUN,
    {"prefect.resource.id": "x", "prefect.resource.role": "flow", "prefect.resource.name": "train"},
    {
        "prefect.resource.id": "y",
        "prefect.resource.role": "deployment",
        "prefect.resource.name": "prod",
    },
    {"prefect.resource.id": "prefect.tag.a", "prefect.resource.role": "tag"},
]
STATE = {
    "prefect.state-type": "RUNNING",
    "prefect.state-name": "Running",
    "prefect.state-message": "on it",
    "prefect.state-timestamp": AT,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


class Parsed:
    """A parser, and what it could not read."""

    def __init__(self) -> None:
        self.bad: Counter[str] = Counter()
        self.parser = Parser(cleaning(), on_bad=self._count)

    def _count(self, reason: str) -> None:
        self.bad[reason] += 1

    def event(self, name: str, **changes: Any) -> list[Observation]:
        return self.parser.event(event(name, **changes))


def event(name: str, **changes: Any) -> wire.Event:
    usual: dict[str, Any] = {
        "id": ID,
        "event": name,
        "occurred": "2026-11-24T18:13:20.000000Z",
        "received": RECEIVED,
        "resource": {**(TASK_RUN if "task" in name else FLOW_RUN), **STATE},
        "related": RELATED,
    }
    return wire.Event(**{**usual, **changes})


def flow_state(**changes: Any) -> StateFact:
    usual = {"at": WHEN, "message": "on it", "received": GOT}
    return StateFact(ID, "RUNNING", "Running", **{**usual, **changes})  # type: ignore[arg-type]


def task_payload(**changes: Any) -> dict[str, Any]:
    usual = {
        "task_key": "score-1a2b3c",
        "dynamic_key": "0",
        "run_count": 2,
        "labels": {signals.TRACEPARENT_LABEL: SPAN},
        "start_time": AT,
        "end_time": RECEIVED,
    }
    return {"task_run": {**usual, **changes}}


# --- events ------------------------------------------------------------------------


def test_a_state_of_a_flow_run_is_read_whole() -> None:
    parsed = Parsed()
    assert parsed.event("prefect.flow-run.Running") == [
        Observation(FLOW_RUN_ID, FLOW_RUN_ID, flow_state(), "train", "prod", "owl", FLOW)
    ]
    assert not parsed.bad


def test_a_state_of_a_task_run_is_read_whole() -> None:
    fact = flow_state(
        attempt=2,
        traceparent=SPAN,
        task_name="score",
        run_name="score-0",
        started=WHEN,
        ended=GOT,
    )
    found = Parsed().event("prefect.task-run.Running", payload=task_payload())
    assert found == [Observation(FLOW_RUN_ID, TASK_RUN_ID, fact, "train", "prod", "owl", FLOW)]


def test_a_task_without_a_flow_run_is_its_own_run() -> None:
    (found,) = Parsed().event("prefect.task-run.Running", related=[], payload=task_payload())
    assert (found.run_id, found.subject_id, found.kind) == (TASK_RUN_ID, TASK_RUN_ID, TASK)
    assert found.run_name == "score-0"


def test_a_heartbeat_is_by_the_clock_of_the_server() -> None:
    (found,) = Parsed().event("prefect.flow-run.heartbeat")
    assert found.what == Heartbeat(GOT)
    (found,) = Parsed().event("prefect.flow-run.heartbeat", received=None)
    assert found.what == Heartbeat(nanoseconds("2026-11-24T18:13:20Z"))


@pytest.mark.parametrize(
    ("resource", "related", "run_id", "kind"),
    [
        (FLOW_RUN, [], FLOW_RUN_ID, FLOW),
        (TASK_RUN, RELATED, FLOW_RUN_ID, FLOW),
        (TASK_RUN, [], TASK_RUN_ID, TASK),
    ],
)
def test_statuses_belong_to_the_run_that_said_them(
    resource: Any, related: Any, run_id: str, kind: str
) -> None:
    payload = {"version": 1, "statuses": [{"message": "a"}], "stages": [{}]}
    (found,) = Parsed().event(
        signals.PREFECT_EVENT, resource=resource, related=related, payload=payload
    )
    assert found.what == StatusFact(0, "", "a", received=GOT)
    assert (found.run_id, found.subject_id) == (run_id, resource["prefect.resource.id"][-36:])
    assert found.kind == kind


@pytest.mark.parametrize("name", ["prefect.worker.started", "mine", "", "prefect.flow-runs.x"])
def test_what_is_of_no_interest_says_nothing(name: str) -> None:
    parsed = Parsed()
    assert parsed.event(name) == []
    assert not parsed.bad


def test_a_change_that_is_no_state_says_nothing() -> None:
    parsed = Parsed()
    assert parsed.event("prefect.flow-run.renamed", resource=FLOW_RUN) == []
    assert not parsed.bad


@pytest.mark.parametrize("name", histories.names())
def test_every_recorded_event_and_run_can_be_read(name: str) -> None:
    api, parser = RecordedApi(histories.load(name)), a_parser()
    for each in api.all_events():
        assert is_safe(parser.event(each))
    for run in api.runs():
        assert parser.flow_run(run, Seen())
    for task in api.tasks():
        assert len(parser.task_run(task, Seen())) == 1


@pytest.mark.parametrize("name", histories.names())
def test_the_api_and_the_events_tell_of_the_same_states(name: str) -> None:
    history = histories.load(name)
    parser = a_parser()
    states = {s["id"]: s for found in history.flow_run_states.values() for s in found}
    for each in RecordedApi(history).all_events():
        if each.id not in states:
            continue
        (observation,) = parser.event(each)
        told = parser.state(msgspec.convert(states[each.id], wire.State))
        assert isinstance(observation.what, StateFact)
        assert told == msgspec.structs.replace(observation.what, received=0)


# --- runs and states --------------------------------------------------------------


def test_a_flow_run_tells_itself_and_its_state() -> None:
    state = wire.State(ID, "RUNNING", "Running", AT, "on it")
    seen = Seen(name="owl", flow_name="train", deployment_name="prod")
    run = wire.FlowRun(FLOW_RUN_ID, state=state)
    assert Parsed().parser.flow_run(run, seen) == [
        Observation(FLOW_RUN_ID, FLOW_RUN_ID, seen),
        Observation(FLOW_RUN_ID, FLOW_RUN_ID, flow_state(received=0), "train", "prod", "owl"),
    ]
    assert len(Parsed().parser.flow_run(wire.FlowRun(FLOW_RUN_ID), seen)) == 1


def test_a_flow_run_without_a_proper_id_is_passed_over_and_counted() -> None:
    parsed = Parsed()
    assert parsed.parser.flow_run(wire.FlowRun("../../etc"), Seen()) == []
    assert parsed.bad == {"bad_id": 1}


@pytest.mark.parametrize(
    "state",
    [
        wire.State(),
        wire.State("x", "RUNNING"),
        wire.State(ID, ""),
        wire.State(FLOW_RUN_ID.upper(), "A"),
    ],
)
def test_a_state_without_id_or_type_is_none(state: wire.State) -> None:
    parser = Parsed().parser
    assert parser.state(state) is None
    assert parser.flow_state(FLOW_RUN_ID, state, Seen()) == []
    assert parser.task_run(wire.TaskRun(TASK_RUN_ID, state=state), Seen()) == []


def test_a_state_without_a_name_is_called_by_its_type() -> None:
    assert Parsed().parser.state(wire.State(ID, "RUNNING")) == StateFact(
        ID, "RUNNING", "Running", 0
    )


def task(**changes: Any) -> wire.TaskRun:
    usual: dict[str, Any] = {
        "name": "score-0",
        "flow_run_id": FLOW_RUN_ID,
        "task_key": "score-1a2b3c",
        "dynamic_key": "0",
        "labels": {signals.TRACEPARENT_LABEL: SPAN},
        "run_count": 2,
        "start_time": AT,
        "end_time": RECEIVED,
        "state": wire.State(ID, "RUNNING", "Running", AT, "on it"),
    }
    return wire.TaskRun(TASK_RUN_ID, **{**usual, **changes})


def test_a_task_run_tells_what_its_event_does() -> None:
    (by_event,) = Parsed().event("prefect.task-run.Running", payload=task_payload())
    seen = Seen(name="owl", flow_name="train", deployment_name="prod")
    (by_api,) = Parsed().parser.task_run(task(), seen)
    received = msgspec.structs.replace(by_event.what, received=0)
    assert by_api == msgspec.structs.replace(by_event, what=received)


def test_a_task_run_that_stands_for_a_subflow_names_it() -> None:
    details = wire.StateDetails(child_flow_run_id=OTHER_ID)
    state = wire.State(ID, "RUNNING", "Running", AT, None, details)
    (found,) = Parsed().parser.task_run(task(state=state), Seen())
    assert isinstance(found.what, StateFact)
    assert found.what.child_run_id == OTHER_ID


def test_a_task_run_without_a_flow_run_is_its_own_run() -> None:
    (found,) = Parsed().parser.task_run(task(flow_run_id=None), Seen())
    assert (found.run_id, found.kind) == (TASK_RUN_ID, TASK)


def test_a_task_run_without_state_or_id_is_passed_over() -> None:
    parser = Parsed().parser
    assert parser.task_run(task(state=None), Seen()) == []
    assert parser.task_run(msgspec.structs.replace(task(), id="x"), Seen()) == []


def test_the_states_of_a_task_run_count_its_executions() -> None:
    kinds = ["PENDING", "RUNNING", "SCHEDULED", "RUNNING", "COMPLETED"]
    states = [
        wire.State(f"{n}{ID[1:]}", kind, None, f"2026-11-24T18:13:2{n}Z")
        for n, kind in enumerate(kinds)
    ]
    found = Parsed().parser.task_states(task(), list(reversed(states)), Seen())
    assert [(o.what.type, o.what.attempt) for o in found] == [  # type: ignore[union-attr]
        *(("PENDING", 0), ("RUNNING", 1), ("SCHEDULED", 1), ("RUNNING", 2), ("COMPLETED", 2)),
    ]


# --- hostile input ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["prefect.flow-run.Running", "prefect.flow-run.heartbeat", signals.PREFECT_EVENT]
)
@pytest.mark.parametrize(
    "resource_id", [None, "", "x", 7, ["a"], f"prefect.flow-run.{FLOW_RUN_ID.upper()}", "g" * 36]
)
def test_what_is_about_nothing_is_counted(name: str, resource_id: Any) -> None:
    parsed = Parsed()
    resource = {**STATE, "prefect.resource.id": resource_id}
    assert parsed.event(name, resource=resource, payload={"statuses": [{}]}) == []
    assert parsed.bad == {"bad_id": 1}


@pytest.mark.parametrize("event_id", ["", "x", FLOW_RUN_ID.upper(), FLOW_RUN_ID + "0"])
def test_a_state_without_a_proper_id_is_counted(event_id: str) -> None:
    parsed = Parsed()
    assert parsed.event("prefect.flow-run.Running", id=event_id) == []
    assert parsed.bad == {"bad_id": 1}


@pytest.mark.parametrize("at", [7, ["a"], {"a": 1}, True])
def test_a_time_that_is_none_is_unreadable(at: Any) -> None:
    parsed = Parsed()
    resource = {**FLOW_RUN, **STATE, "prefect.state-timestamp": at}
    assert parsed.event("prefect.flow-run.Running", resource=resource) == []
    assert parsed.bad == {"unreadable": 1}


@pytest.mark.parametrize(
    ("at", "read_as"),
    [
        ("0001-01-01T00:00:00Z", nanoseconds("2026-11-24T18:13:20Z")),  # what no database keeps
        ("1970-01-01T00:00:01Z", 10**9),
        ("2261-01-01T00:00:00Z", nanoseconds("2261-01-01T00:00:00Z")),
        ("9999-12-31T23:59:59Z", nanoseconds("2026-11-24T18:13:20Z")),
        ("yesterday", nanoseconds("2026-11-24T18:13:20Z")),
    ],
)
def test_a_time_far_off_is_kept_or_replaced_by_when_it_occurred(at: str, read_as: int) -> None:
    resource = {**FLOW_RUN, **STATE, "prefect.state-timestamp": at}
    (found,) = Parsed().event("prefect.flow-run.Running", resource=resource)
    assert found.what.at == read_as  # type: ignore[union-attr]
    assert -(2**63) <= read_as < 2**63


@pytest.mark.parametrize(
    "payload",
    [{}, {"validated_state": None}, {"task_run": None}, {"task_run": "x"}, {"task_run": []}],
)
def test_a_task_event_that_says_nothing_of_its_task_is_read_all_the_same(payload: Any) -> None:
    parsed = Parsed()
    (found,) = parsed.event("prefect.task-run.Running", payload=payload)
    assert found.what == flow_state()
    assert not parsed.bad


@pytest.mark.parametrize("name", ["task_key", "dynamic_key", "run_count", "labels", "name"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_field_of_a_task_harms(name: str, value: Any) -> None:
    parsed = Parsed()
    found = parsed.event("prefect.task-run.Running", payload=task_payload(**{name: value}))
    assert is_safe(found)
    assert len(found) + sum(parsed.bad.values()) == 1


@pytest.mark.parametrize(
    "field",
    ["prefect.state-type", "prefect.state-name", "prefect.state-message", "prefect.resource.name"],
)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_text_of_an_event_harms(field: str, value: Any) -> None:
    parsed = Parsed()
    related = [*RELATED, *({**one, "prefect.resource.name": value} for one in RELATED)]
    resource = {**FLOW_RUN, **STATE, field: value}
    found = parsed.event("prefect.flow-run.Running", resource=resource, related=related)
    assert is_safe(found)
    assert len(found) + sum(parsed.bad.values()) == 1 or not value


def test_an_unknown_type_of_state_is_kept_as_it_is() -> None:
    resource = {**FLOW_RUN, **STATE, "prefect.state-type": "DREAMING", "prefect.state-name": None}
    (found,) = Parsed().event("prefect.flow-run.Dreaming", resource=resource)
    assert found.what == msgspec.structs.replace(flow_state(), type="DREAMING", name="Dreaming")


@pytest.mark.parametrize("name", ["prefect.flow-run.Running", "prefect.task-run.Running"])
def test_five_hundred_labels_are_no_trouble(name: str) -> None:
    labels = {f"label {n}\ud800": "x" * 1000 for n in range(500)}
    parsed = Parsed()
    (found,) = parsed.event(name, payload=task_payload(labels=labels), related=RELATED * 100)
    assert is_safe(found)
    assert len(msgspec.json.encode(found)) < 2000


@given(
    name=st.sampled_from(
        [
            "prefect.flow-run.X",
            "prefect.task-run.X",
            "prefect.flow-run.heartbeat",
            signals.PREFECT_EVENT,
        ]
    ),
    resource=st.dictionaries(st.sampled_from([*FLOW_RUN, *STATE]), JSON),
    related=st.lists(st.dictionaries(st.sampled_from([*OF_RUN]), JSON), max_size=3),
    payload=st.dictionaries(
        st.sampled_from(["task_run", "statuses", "stages", "validated_state"]), JSON
    ),
    occurred=st.text(max_size=30),
)
def test_any_event_is_read_or_counted(**parts: Any) -> None:
    parsed = Parsed()
    found = parsed.parser.event(wire.Event(ID, parts.pop("name"), received=None, **parts))
    assert is_safe(found)
    assert all(msgspec.json.encode(observation) for observation in found)


@pytest.mark.parametrize("kind", SECRETS)
def test_no_secret_is_kept(kind: str) -> None:
    secret = SECRETS[kind]
    resource = {**TASK_RUN, **STATE, "prefect.state-message": secret, "prefect.state-name": secret}
    related = [{**one, "prefect.resource.name": secret} for one in RELATED]
    payload = task_payload(task_key=f"{secret}-1", name=secret)
    parsed = Parsed()
    found = parsed.event(
        "prefect.task-run.Running", resource=resource, related=related, payload=payload
    )
    found += parsed.parser.task_run(
        task(name=secret, state=wire.State(ID, "RUNNING", secret, AT, secret)), Seen()
    )
    assert len(found) == 2
    assert SECRET_PARTS[kind] not in repr(found)


# --- ids and names ---------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 7, "", "x", FLOW_RUN_ID.upper(), f"{FLOW_RUN_ID}\n", b"a"])
def test_what_is_no_uuid_is_empty(value: Any) -> None:
    assert uuid(value) == ""
    assert uuid(FLOW_RUN_ID) == FLOW_RUN_ID


@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, "", [], SPAN.upper(), SPAN + "0", SPAN + "\n", SPAN.replace("00-0", "01-0", 1)),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
    ],
)
def test_what_is_no_traceparent_is_empty(value: Any) -> None:
    assert traceparent(value) == ""
    assert traceparent(SPAN) == SPAN
    payload = task_payload(labels={signals.TRACEPARENT_LABEL: value})
    (found,) = Parsed().event("prefect.task-run.Running", payload=payload)
    assert found.what.traceparent == ""  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("run_name", "task_key", "dynamic_key", "name"),
    [
        ("score-0", "score-1a2b3c", "0", "score"),
        ("score-6f1", "score-1a2b3c", "6f1c1a52-3f9b", "score"),
        ("score-6f1c1a52", "score-1a2b3c", "6f1c1a52", "score"),
        ("by-its-author", "score_model-1a2b3c", "0", "score_model"),
        ("by-its-author", "", "", "by-its-author"),
        ("by-its-author", "nohash", "", "by-its-author"),
        ("ends-with-", "", "", "ends-with-"),
        ("", "", "", ""),
    ],
)
def test_the_name_of_the_task_behind_a_run(
    run_name: str, task_key: str, dynamic_key: str, name: str
) -> None:
    assert task_name_of(run_name, task_key, dynamic_key) == name
