"""Batches of statuses and stages, whoever wrote them: what can be read is, and safely."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_otel_status.bridge.records import StageFact, StatusFact
from prefect_otel_status.bridge.statuses import read
from prefect_otel_status.sinks.prefect_event import stage_payload, to_payload
from tests.support.core import cleaning
from tests.support.hostile import SECRET_PARTS, SECRETS, VALUES
from tests.support.records import NOW, SECOND, SPAN_ID, TRACE_ID, stage_end, status
from tests.support.telling import is_safe

RECEIVED = NOW + SECOND
STATUS = {
    "template": "Scored {model}",
    "message": "Scored bert",
    "level": "warning",
    "attempt": 2,
    "sequence": 3,
    "timestamp": NOW,
    "span_id": f"{SPAN_ID:016x}",
}
STAGE = {"name": "load", "span_id": f"{SPAN_ID:016x}", "started": NOW}
MEAN = {
    **VALUES,
    "lone surrogate in a list": ["\ud800"],
    "digits": 10**4000,
    "negative": -1,
    "true": True,
    "dict": {"a": {"b": 1}},
    "many": ["x"] * 10_000,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def said(**changes: Any) -> StatusFact:
    (found,) = facts(statuses=[{**STATUS, **changes}])
    assert isinstance(found, StatusFact)
    return found


def facts(**payload: Any) -> list[StatusFact | StageFact]:
    return list(read(payload, cleaning(), received=RECEIVED))


# --- what is there ---------------------------------------------------------------


def test_what_a_flow_sends_is_read_whole() -> None:
    sent = status(
        "Scored {model}",
        message="Scored bert",
        event="scored",
        stage="score",
        level="warning",
        progress=0.5,
        attributes={"model": "bert", "n": 3, "sizes": (1, 2)},
        bound={"model.version": 3},
        flags=("long_message",),
        attempt=2,
        sequence=9,
    )
    assert facts(statuses=[to_payload(sent)]) == [
        StatusFact(
            at=NOW,
            template="Scored {model}",
            message="Scored bert",
            event="scored",
            stage="score",
            level="warning",
            progress=0.5,
            attempt=2,
            sequence=9,
            span_id=SPAN_ID,
            attributes={"model": "bert", "n": 3, "sizes": (1, 2)},
            bound={"model.version": 3},
            flags=("long_message",),
            received=RECEIVED,
        )
    ]
    assert TRACE_ID > 0


def test_the_opening_and_the_end_of_a_stage_are_read_whole() -> None:
    end = stage_end(
        "load",
        result="failure",
        bound={"model.name": "bert"},
        started=NOW,
        ended=NOW + SECOND,
        span_id=SPAN_ID,
        parent_span_id=7,
    )
    bound = {"model.name": "bert"}
    assert facts(stages=[STAGE, stage_payload(end)]) == [
        StageFact("load", SPAN_ID, NOW, result="success", received=RECEIVED),
        StageFact("load", SPAN_ID, NOW, NOW + SECOND, 7, "failure", bound, RECEIVED),
    ]


def test_a_bare_status_is_read_with_what_there_is() -> None:
    assert facts(statuses=[{}]) == [StatusFact(0, "", "", received=RECEIVED)]


def test_statuses_come_before_stages_and_in_their_order() -> None:
    found = facts(stages=[STAGE], statuses=[{"message": "a"}, {"message": "b"}])
    assert [getattr(fact, "message", "stage") for fact in found] == ["a", "b", "stage"]


# --- what is not -------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "text", 5, True, {"a": 1}, 1.5, [], [None, 1, "a", [1]]])
def test_what_is_no_list_of_statuses_says_nothing(value: Any) -> None:
    assert facts(statuses=value, stages=value) == []


def test_one_that_is_no_status_does_not_keep_the_others_back() -> None:
    found = facts(statuses=[5, STATUS, None], stages=["x", STAGE])
    assert [type(fact).__name__ for fact in found] == ["StatusFact", "StageFact"]


@pytest.mark.parametrize(
    "name", [*STATUS, *("event", "stage", "progress", "attributes", "bound", "flags")]
)
@pytest.mark.parametrize("value", MEAN.values(), ids=MEAN)
def test_no_field_of_a_status_breaks_the_batch(name: str, value: Any) -> None:
    found = facts(statuses=[{**STATUS, name: value}, {"message": "next"}])
    assert len(found) == 2
    assert is_safe(found)
    assert msgspec.json.decode(msgspec.json.encode(found[0]), type=StatusFact).key == found[0].key


@pytest.mark.parametrize("name", [*STAGE, "ended", "parent_span_id", "result", "bound"])
@pytest.mark.parametrize("value", MEAN.values(), ids=MEAN)
def test_no_field_of_a_stage_breaks_the_batch(name: str, value: Any) -> None:
    found = facts(stages=[{**STAGE, name: value}, {**STAGE, "name": "next"}])
    assert found[-1].name == "next"  # type: ignore[union-attr]
    assert is_safe(found)


@given(payload=st.dictionaries(st.sampled_from(["statuses", "stages"]), JSON))
def test_any_payload_is_read(payload: dict[str, Any]) -> None:
    assert is_safe(list(read(payload, cleaning(), received=0)))


@given(body=st.dictionaries(st.sampled_from([*STATUS, *STAGE, "bound", "flags", "ended"]), JSON))
def test_any_body_is_read(body: dict[str, Any]) -> None:
    payload = {"statuses": [body], "stages": [body]}
    found = list(read(payload, cleaning(), received=0))
    assert is_safe(found)
    assert all(0 <= fact.at < 2**63 and 0 <= fact.span_id < 2**64 for fact in found)


@pytest.mark.parametrize("value", [-1, 2**63, 1.5, "1", True, None, [1]])
def test_what_is_no_count_is_0(value: Any) -> None:
    found = said(timestamp=value, attempt=value, sequence=value)
    assert (found.at, found.attempt, found.sequence) == (0, 0, 0)


def test_far_past_and_far_future_are_kept_within_64_bits() -> None:
    assert (said(timestamp=1).at, said(timestamp=2**63 - 1).at) == (1, 2**63 - 1)


@pytest.mark.parametrize(
    "value",
    [
        "-000000000000001",
        "0x00000000000001",
        "1_00_00_00_00_00",
        "G" * 16,
        "abc",
        "",
        7,
        None,
        "0" * 16,
    ],
)
def test_what_is_no_span_id_is_none(value: Any) -> None:
    assert said(span_id=value).span_id == 0
    assert facts(stages=[{**STAGE, "span_id": value}]) == []


@pytest.mark.parametrize("value", [0, None, "then", -5])
def test_a_stage_that_never_began_is_passed_over(value: Any) -> None:
    assert facts(stages=[{**STAGE, "started": value, "ended": NOW}]) == []


@pytest.mark.parametrize(
    ("value", "read_as"),
    [(0.25, 0.25), (1, 1.0), (None, None), (True, None), ("0.5", None), (10**400, None)]
    + [(float(text), None) for text in ("nan", "inf", "-inf")],
)
def test_progress_is_a_number_or_none(value: Any, read_as: float | None) -> None:
    assert said(progress=value).progress == read_as


@pytest.mark.parametrize("value", ["fatal", "", None, 5, ["info"], {}])
def test_a_level_that_nobody_knows_is_info(value: Any) -> None:
    assert said(level=value).level == "info"


@pytest.mark.parametrize("value", ["FAILURE", None, 5, "success"])
def test_a_result_that_nobody_knows_is_success(value: Any) -> None:
    (found,) = facts(stages=[{**STAGE, "ended": NOW, "result": value}])
    assert isinstance(found, StageFact)
    assert found.result == "success"


@pytest.mark.parametrize(
    ("value", "read_as"),
    [(["a", 1, "b\n", None], ("a", "b ")), ("abc", ()), (5, ()), (None, ()), ({"a": 1}, ())],
)
def test_flags_are_a_list_of_lines(value: Any, read_as: tuple[str, ...]) -> None:
    assert said(flags=value).flags == read_as


def test_of_ten_thousand_flags_some_are_kept() -> None:
    assert len(said(flags=["flag"] * 10_000).flags) == 16


@pytest.mark.parametrize("kind", SECRETS)
def test_no_secret_is_kept(kind: str) -> None:
    secret = SECRETS[kind]
    names = ("template", "message", "event", "stage")
    found = facts(
        statuses=[
            {**dict.fromkeys(names, secret), "attributes": {"a": secret}, "bound": {"b": secret}}
        ],
        stages=[{**STAGE, "name": secret, "bound": {"b": secret}}],
    )
    assert SECRET_PARTS[kind] not in repr(found)
