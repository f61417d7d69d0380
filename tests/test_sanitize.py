"""Text and values that every sink can encode."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_otel_status import sanitize
from prefect_otel_status.redact import REPLACEMENT, Redactor
from tests.support.hostile import TEN_MEGABYTES, VALUES, Endless, RaisingAttributes, RaisingText

SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary())
ANY = st.one_of(
    SCALAR,
    st.lists(SCALAR),
    st.dictionaries(st.text(), SCALAR),
    st.sampled_from(list(VALUES.values())),
)
WILD_TEXT = st.text(st.characters(codec=None, exclude_categories=[]))


def is_encodable(text: str) -> bool:
    """True for text that UTF-8 takes and that holds no control character but tab and newline."""
    text.encode("utf-8")
    return all(
        character in "\t\n" or character.isprintable() or ord(character) > 0x9F
        for character in text
    )


def is_safe(value: Any) -> bool:
    """True for what OpenTelemetry takes as an attribute's value."""
    if isinstance(value, tuple):
        kinds = {type(item) for item in value}
        return len(kinds) <= 1 and all(type(item) is not tuple and is_safe(item) for item in value)
    if type(value) is str:
        return is_encodable(value) and len(value) <= sanitize.TEXT_LIMIT
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return type(value) in (bool, float)


class Number:
    """A scalar of a numerical library."""

    ndim = 0

    def __init__(self, value: Any) -> None:
        self._value = value

    def item(self) -> Any:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def __str__(self) -> str:
        return "a number"


# --- text ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text", "line"),
    [
        ("plain", "plain", "plain"),
        ("", "", ""),
        ("tab\tand\nnewline", "tab\tand\nnewline", "tab and newline"),
        ("a\r\nb", "a \nb", "a  b"),
        ("a\x00b", "a\ufffdb", "a\ufffdb"),
        ("\ud800", "\ufffd", "\ufffd"),
        ("a\u2028b\u2029", "a b ", "a b "),
        ("\x1b[31mred\x1b[0m!", "red!", "red!"),
        ("\x1b[?25l\x1b[2J", "", ""),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd", "\ufffd]0;title\ufffd"),
        ("\x7f\x85\x9b", "\ufffd" * 3, "\ufffd" * 3),
        ('"} 1\nfake 1', '"} 1\nfake 1', '"} 1 fake 1'),
        (b"bytes \xff", "bytes \ufffd", "bytes \ufffd"),
        (None, "None", "None"),
        (17, "17", "17"),
        (RaisingText(), "<unprintable> RaisingText", "<unprintable> RaisingText"),
        ("🙂 größer", "🙂 größer", "🙂 größer"),
    ],
)
def test_what_breaks_a_sink_is_replaced(value: object, text: str, line: str) -> None:
    assert (sanitize.text(value), sanitize.line(value)) == (text, line)


@pytest.mark.parametrize("clean", [sanitize.text, sanitize.line])
def test_long_text_is_cut_and_says_so(clean: Any) -> None:
    assert clean("abcdef", limit=6) == "abcdef"
    assert clean("abcdefg", limit=6) == "abcde…"


def test_ten_megabytes_become_a_page() -> None:
    assert sanitize.text(TEN_MEGABYTES) == "x" * 4095 + "…"
    assert sanitize.line(TEN_MEGABYTES.encode()) == "x" * 199 + "…"


@settings(deadline=None, max_examples=100)
@given(value=st.one_of(WILD_TEXT, ANY), limit=st.integers(1, 300))
def test_any_value_becomes_short_text_that_can_be_encoded(value: object, limit: int) -> None:
    text, line = sanitize.text(value, limit=limit), sanitize.line(value, limit=limit)
    assert is_encodable(text)
    assert is_encodable(line)
    assert max(len(text), len(line)) <= limit
    assert not set("\t\n\r\u2028\u2029") & set(line)


@settings(deadline=None)
@given(value=WILD_TEXT)
def test_safe_text_is_left_alone(value: str) -> None:
    once = sanitize.text(value)
    assert sanitize.text(once) == once


# --- freezing ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "frozen"),
    [
        ("a", "a"),
        (1, 1),
        (1.5, 1.5),
        (True, True),
        (None, None),
        (2**70, 2**70),
        (Number(3), 3),
        (Number(0.5), 0.5),
        (Number([1]), "a number"),
        (Number(RuntimeError("no item")), "a number"),
        ([1, 2], (1, 2)),
        ((0.5, 1.5), (0.5, 1.5)),
        (["a", "b"], ("a", "b")),
        ({True}, (True,)),
        ([], ()),
        ([1, "a", None], ("1", "a", "None")),
        ([1, 1.5], ("1", "1.5")),
        ([1, True], ("1", "True")),
        ([["a"]], ("['a']",)),
        ({"a": 1}, "{'a': 1}"),
        (b"\xff", "\ufffd"),
        (Endless(), "[]"),
        (RaisingText(), "<unprintable> RaisingText"),
    ],
)
def test_a_value_is_frozen_and_keeps_its_type(value: object, frozen: object) -> None:
    found = sanitize.freeze(value)
    assert found == frozen
    assert type(found) is type(frozen)


def test_a_later_change_does_not_reach_a_frozen_value() -> None:
    items = [1, 2]
    frozen = sanitize.freeze(items)
    items.append(3)
    assert frozen == (1, 2)


def test_a_long_list_is_cut() -> None:
    assert sanitize.freeze(list(range(1000))) == tuple(range(sanitize.ITEM_LIMIT))


def test_a_value_whose_attributes_raise_is_frozen_as_text() -> None:
    assert sanitize.freeze(RaisingAttributes()) == "raising attributes"


def test_a_cyclic_value_is_frozen() -> None:
    assert sanitize.freeze(VALUES["cyclic"]) == "{'self': {...}}"


# --- attributes ----------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(values=st.dictionaries(WILD_TEXT, ANY, max_size=8))
def test_any_attributes_become_ones_that_can_be_sent(values: dict[str, Any]) -> None:
    frozen = {name: _freeze(value) for name, value in values.items()}
    safe = sanitize.attributes(frozen, redact=Redactor())
    assert [value for value in safe.values() if not is_safe(value)] == []
    assert all(is_encodable(name) and len(name) <= sanitize.NAME_LIMIT for name in safe)


def _freeze(value: Any) -> Any:
    return "x" if isinstance(value, RaisingAttributes) else sanitize.freeze(value)


@settings(deadline=None)
@given(value=st.one_of(st.integers(), st.integers(2**62, 2**65), st.integers(-(2**65), -(2**62))))
def test_an_integer_stays_one_within_64_bits(value: int) -> None:
    fits = -(2**63) <= value < 2**63
    assert sanitize.attribute("a", value, redact=Redactor()) == (value if fits else str(value))


def test_the_items_of_a_sequence_keep_one_type() -> None:
    safe = sanitize.attribute("a", (1, 2**70), redact=Redactor())
    assert safe == ("1", str(2**70))


def test_types_are_kept_and_none_is_left_out() -> None:
    values = {"t": "x", "i": 1, "f": 0.5, "b": True, "s": ("a", "b"), "n": None, "o": b"x"}
    assert sanitize.attributes(values, redact=Redactor()) == {
        "t": "x",
        "i": 1,
        "f": 0.5,
        "b": True,
        "s": ("a", "b"),
        "o": "x",
    }


def test_of_a_thousand_attributes_the_first_are_kept() -> None:
    safe = sanitize.attributes({f"a{n}": n for n in range(1000)}, redact=Redactor())
    assert safe == {f"a{n}": n for n in range(sanitize.ATTRIBUTE_LIMIT)}


def test_a_name_is_made_one_short_line() -> None:
    safe = sanitize.attributes({"a\nb": 1, "n" * 500: 2}, redact=Redactor())
    assert safe == {"a b": 1, "n" * 127 + "…": 2}


def test_secrets_are_taken_out_by_pattern_and_by_name() -> None:
    values = {"password": "x", "url": "ftp://eve:hunter22@c", "keys": ("pwd=hunter22", "fine")}
    assert sanitize.attributes(values, redact=Redactor()) == {
        "password": REPLACEMENT,
        "url": "ftp://[redacted]@c",
        "keys": ("pwd=[redacted]", "fine"),
    }


@pytest.mark.parametrize("value", [123456, ("a", "b"), (12, 34)])
def test_a_secret_that_is_no_text_is_taken_out_too(value: object) -> None:
    found = sanitize.attribute("password", value, redact=Redactor())
    assert set(found if isinstance(found, tuple) else (found,)) == {REPLACEMENT}


# --- JSON ----------------------------------------------------------------------


@settings(deadline=None)
@given(value=st.one_of(st.floats(), st.text(), st.integers(), st.lists(st.floats()).map(tuple)))
def test_any_value_can_be_strict_json(value: Any) -> None:
    assert json.dumps(sanitize.json_value(value), allow_nan=False)


def test_what_json_cannot_hold_becomes_text() -> None:
    assert sanitize.json_value((math.nan, math.inf, 1.5)) == ["nan", "inf", 1.5]
    assert sanitize.json_value("a") == "a"


def test_a_secret_in_a_name_is_taken_out() -> None:
    found = sanitize.attributes({"token=ghp_" + "a1" * 20: "value"}, redact=Redactor())
    assert found == {"token=[redacted]": "value"}
