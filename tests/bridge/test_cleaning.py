"""Text of the server made safe: encodable, short, without secrets, and counted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_otel_status import signals
from prefect_otel_status.bridge import cleaning as cleaning_module
from prefect_otel_status.sanitize import ATTRIBUTE_LIMIT, LABEL_LIMIT, TEXT_LIMIT
from prefect_otel_status.tally import Tally
from tests.support.core import cleaning
from tests.support.hostile import SECRET_PARTS, SECRETS, VALUES
from tests.support.telling import is_safe

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_whatever_the_value_text_and_line_are_safe(value: Any) -> None:
    clean = cleaning()
    text, line = clean.text(value), clean.line(value)
    assert is_safe([text, line])
    assert len(text) <= TEXT_LIMIT
    assert len(line) <= LABEL_LIMIT
    assert not set("\r\n\t") & set(line)
    assert is_safe(clean.attributes({"a": value, "\ud800\n": value}))


@given(value=JSON)
def test_any_json_is_made_safe(value: Any) -> None:
    clean = cleaning()
    assert is_safe([clean.text(value), clean.line(value), clean.attributes(value)])


@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_are_taken_out_and_counted(kind: str) -> None:
    tally = Tally()
    clean = cleaning(tally)
    said = f"before {SECRETS[kind]} after"
    found = [clean.text(said), clean.line(said), clean.attributes({"said": said})]
    assert SECRET_PARTS[kind] not in repr(found)
    assert "redacted" in found[0]
    counted = {label for metric, label in tally.read() if metric is signals.PROCESS_REDACTIONS}
    assert counted


def test_a_secret_of_ones_own_is_taken_out() -> None:
    assert "4711" not in cleaning(redact=(r"ticket-\d+",)).line("see ticket-4711")


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_is_empty(value: Any) -> None:
    clean = cleaning()
    assert (clean.text(value), clean.line(value), clean.attributes(value)) == ("", "", {})


@pytest.mark.parametrize("value", [["a"], "a", 1, True, ("a", 1)])
def test_what_is_no_mapping_has_no_attributes(value: Any) -> None:
    assert cleaning().attributes(value) == {}


def test_attributes_keep_their_types() -> None:
    values = {"a": 1, "b": 1.5, "c": True, "d": ["x", "y"], "e": {"f": 1}, "g": 2**70, "h": None}
    assert cleaning().attributes(values) == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": ("x", "y"),
        "e": "{'f': 1}",
        "g": str(2**70),
    }


def test_of_a_thousand_attributes_some_are_kept() -> None:
    assert len(cleaning().attributes({f"a{n}": n for n in range(1000)})) == ATTRIBUTE_LIMIT


def test_a_number_of_thousands_of_digits_is_no_trouble() -> None:
    clean = cleaning()
    assert is_safe([clean.text(10**4000), clean.line(10**4000), clean.attributes({"n": 10**4000})])


def test_a_line_that_comes_again_is_cleaned_once_and_counted_once() -> None:
    tally = Tally()
    clean = cleaning(tally)
    assert {clean.line("password=hunter22") for _ in range(3)} == {"password=[redacted]"}
    assert sum(tally.read().values()) == 1


def test_the_lines_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning_module, "_CACHED", 10)
    clean = cleaning()
    for number in range(95):
        assert clean.line(f"name {number}") == f"name {number}"
    assert clean.line("x" * 5000) == "x" * (LABEL_LIMIT - 1) + "…"
    assert len(clean._lines) == 5
