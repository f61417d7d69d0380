"""Decoding what a server sends."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_otel_status.bridge import wire
from prefect_otel_status.bridge.decoding import decode_all, decode_event, split

GOOD = (
    b'{"id":"e1","event":"prefect.flow-run.Running","occurred":"2026-11-24T18:13:25Z",'
    b'"received":null,"resource":{"prefect.resource.id":"prefect.flow-run.1"},'
    b'"related":[],"payload":{"n":1},"follows":null,"unknown":[1]}'
)
EVENT = wire.Event(
    id="e1",
    event="prefect.flow-run.Running",
    occurred="2026-11-24T18:13:25Z",
    resource={"prefect.resource.id": "prefect.flow-run.1"},
    payload={"n": 1},
)


@pytest.mark.parametrize("data", [GOOD, GOOD.decode(), msgspec.Raw(GOOD)])
def test_reads_an_event_from_bytes_text_and_raw(data: bytes | str | msgspec.Raw) -> None:
    reasons: list[str] = []
    assert (decode_event(data, on_bad=reasons.append), reasons) == (EVENT, [])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_json"),
        (b"not json", "not_json"),
        (b'{"id":"e1","event":', "not_json"),
        (b"[" * 100_000, "wrong_type"),
        (b'{"id":"e1","event":"x","payload":' + b'{"a":' * 5000 + b"1" + b"}" * 5002, "not_json"),
        (b'{"event":"x"}', "missing_field"),
        (b'{"id":"e1"}', "missing_field"),
        (b'{"id":"","event":"x"}', "missing_field"),
        (b"[]", "wrong_type"),
        (b"null", "wrong_type"),
        (b'{"id":1,"event":"x"}', "wrong_type"),
        (b'{"id":"e1","event":"x","related":{}}', "wrong_type"),
        (b'{"id":"e1","event":"x","payload":{"v":1e400}}', "wrong_type"),
        (b'{"id":1,"event":NaN}', "wrong_type"),
    ],
)
def test_says_why_an_event_is_passed_over(data: bytes, reason: str) -> None:
    reasons: list[str] = []
    assert (decode_event(data, on_bad=reasons.append), reasons) == (None, [reason])


def test_passes_over_an_event_that_is_too_large() -> None:
    reasons: list[str] = []
    assert decode_event(GOOD, on_bad=reasons.append, limit=len(GOOD)) == EVENT
    assert decode_event(GOOD, on_bad=reasons.append, limit=len(GOOD) - 1) is None
    assert reasons == ["too_large"]


def test_mends_what_only_pythons_json_allows() -> None:
    reasons: list[str] = []
    data = b'{"id":"e1","event":"x","payload":{"nan":NaN,"lone":"a\\ud800","raw":"\xff"}}'
    event = decode_event(data, on_bad=reasons.append)
    payload = {"nan": None, "lone": "a?", "raw": "\N{REPLACEMENT CHARACTER}"}
    assert event == wire.Event(id="e1", event="x", payload=payload)
    assert reasons == []


@given(st.binary() | st.text())
def test_takes_anything(data: bytes | str) -> None:
    reasons: list[str] = []
    assert decode_event(data, on_bad=reasons.append) is None
    assert len(reasons) == 1


def test_keeps_the_good_rows_of_a_page() -> None:
    reasons: list[str] = []
    rows = split(b'[{"id":"1","name":"a"},{"id":2},{"name":"c"},7,{"id":"4"}]')
    found = decode_all(rows, msgspec.json.Decoder(wire.Flow), on_bad=reasons.append)
    assert found == [wire.Flow("1", "a"), wire.Flow("4")]
    assert reasons == ["wrong_type", "missing_field", "wrong_type"]
