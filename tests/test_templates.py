"""Filling templates, and finding the template of a text that was already filled."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_otel_status.templates import (
    BAD_TEMPLATE,
    FAILED_FIELD,
    MISSING_FIELD,
    Filled,
    fill,
    fingerprint,
    parse,
)
from tests.support.hostile import VALUES, RaisingText

VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.sampled_from(list(VALUES.values())),
)
PIECE = st.sampled_from(
    (
        *("{", "}", "{{", "}}", "{a}", "{b!r}", "{c:.1%}", "{a.x}", "{b[0]}", "{}", "{0}", "x y"),
        *("{a:{b}}", "{c!s:>5}", "{a.__class__}", "{a!z}", "{missing}", ":", "!", "\x00", "🙂"),
        "\ud800",
    )
)
TEMPLATE = st.one_of(st.text(), st.lists(PIECE).map("".join))
ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b", "c", "self"]), VALUE)


class Point(NamedTuple):
    x: int


# --- filling -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "attributes", "message"),
    [
        ("Scored {model}: {p:.1%}", {"model": "bert", "p": 0.931}, "Scored bert: 93.1%"),
        ("{a!r} {a!s} {a!a}", {"a": "é"}, "'é' é '\\xe9'"),
        ("{at.x} of {items[1]} by {names[who]}", None, "7 of b by eve"),
        ("{w:>{width}}|", {"w": "a", "width": 3}, "  a|"),
        ("{{literal}} {a}", {"a": 1}, "{literal} 1"),
        ("{{literal}} {a.x}", {"a": Point(7)}, "{literal} 7"),
        ("{größe}", {"größe": 3}, "3"),
        ("{at:%Y}", {"at": datetime(2026, 1, 1, tzinfo=timezone.utc)}, "2026"),
        ("{a}", {"a": "{b}"}, "{b}"),
    ],
)
def test_fields_are_filled_as_str_format_does(
    template: str, attributes: dict[str, Any] | None, message: str
) -> None:
    usual = {"at": Point(7), "items": ["a", "b"], "names": {"who": "eve"}}
    assert fill(template, attributes or usual) == Filled(template, message, ())


@pytest.mark.parametrize("template", ["{b}", "{b:.1%}", "{b!r:>{w}}", "{b.c[0]}", "{b[x]}"])
def test_a_missing_field_stays_as_it_is_written_and_is_flagged(template: str) -> None:
    filled = fill(f"{template} of {{a}}", {"a": 1})
    assert filled == Filled(f"{template} of {{a}}", f"{template} of 1", (MISSING_FIELD,))


@pytest.mark.parametrize(
    "template", ["{b}", "{b!s}", "{b!r}", "{b:>5}", "{a:q}", "{a!z}", "{a:{c}}"]
)
def test_a_failing_field_stays_as_it_is_written_and_is_flagged(template: str) -> None:
    filled = fill(f"{template} of {{a}}", {"a": 1, "b": RaisingText()})
    assert filled == Filled(f"{template} of {{a}}", f"{template} of 1", (FAILED_FIELD,))


def test_each_flag_is_given_once() -> None:
    filled = fill("{a} {b} {c:q} {d:q}", {"c": 1, "d": 1})
    assert filled == Filled(
        "{a} {b} {c:q} {d:q}", "{a} {b} {c:q} {d:q}", (MISSING_FIELD, FAILED_FIELD)
    )


@pytest.mark.parametrize("template", ["{", "}", "{a", "{a {b} }", "{a:{b}", "done } {", "{a!}"])
def test_unbalanced_braces_are_text_and_flagged(template: str) -> None:
    assert fill(template, {"a": 1}) == Filled(template, template, (BAD_TEMPLATE,))


@pytest.mark.parametrize("template", ['{"a": 1}', "{}", "{0} of {1}", "{ }", "{'x': {'y': 2}}"])
def test_braces_without_a_name_are_data(template: str) -> None:
    filled = fill(template, {"a": 1})
    assert filled == Filled(fingerprint(template), template, (BAD_TEMPLATE,))


def test_positions_beside_names_stay_as_they_are_written() -> None:
    assert fill("{a} {} {0}", {"a": 1}) == Filled("{a} {} {0}", "1 {} {0}", (MISSING_FIELD,))


def test_doubled_braces_without_fields_are_halved() -> None:
    assert fill("100% {{done}}", {}) == Filled("<num>% {{done}}", "100% {done}", ())


@pytest.mark.parametrize("template", ["{x.__class__}", "{x._secret}", "{x[0]._y}", "{x.a._b}"])
def test_a_field_reaches_no_private_state(template: str) -> None:
    attributes = {"x": type("Holder", (), {"_secret": "s3cret"})()}
    assert fill(template, attributes) == Filled(template, template, (MISSING_FIELD,))


def test_a_format_within_a_format_reaches_no_private_state() -> None:
    when = datetime(2026, 1, 1, tzinfo=timezone.utc)
    filled = fill("{when:{x.__class__}}", {"when": when, "x": 1})
    assert "class" not in filled.message.replace("{when:{x.__class__}}", "")


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_any_value_can_be_filled_in(value: Any) -> None:
    filled = fill("of {a}", {"a": value})
    expected = "of {a}" if isinstance(value, RaisingText) else f"of {value}"
    flags = (FAILED_FIELD,) if isinstance(value, RaisingText) else ()
    assert filled == Filled("of {a}", expected, flags)


@settings(deadline=None, max_examples=100)
@given(template=TEMPLATE, attributes=ATTRIBUTES)
def test_filling_never_raises_and_gives_text(template: str, attributes: dict[str, Any]) -> None:
    filled = fill(template, attributes)
    assert isinstance(filled.message, str)
    assert filled.template in (template, fingerprint(template))
    assert set(filled.flags) <= {MISSING_FIELD, FAILED_FIELD, BAD_TEMPLATE}


@settings(deadline=None)
@given(name=st.sampled_from(["a", "b"]), value=st.one_of(st.integers(), st.text()))
def test_a_plain_field_is_filled_as_str_format_does(name: str, value: object) -> None:
    template = f"is {{{name}}} and {{{name}!r}}"
    assert fill(template, {name: value}).message == template.format(**{name: value})


def test_a_template_is_parsed_once() -> None:
    assert parse("{only} once") is parse("{only} once")


# --- fingerprints --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("", ""),
        ("no numbers", "no numbers"),
        ("Row 17 of 20,000", "Row <num> of <num>"),
        ("took 1.5e-05 s at 12:30:01", "took <num> s at <num>"),
        ("down by -3.5%", "down by <num>%"),
        ("run 6f1c1a52-3f9b-4c8e-9d3a-0c5b7a1e2d11 ended", "run <uuid> ended"),
        ("commit 1a2b3c4d5e", "commit <hex>"),
        ("at 0xDEADbeef", "at <hex>"),
        ("wrote /var/data/part-0001.parquet now", "wrote <path> now"),
        ("wrote s3://bucket/a/b.csv", "wrote <path>"),
        ("wrote ~/models/bert", "wrote <path>"),
        (r"wrote C:\models\bert.bin", "wrote <path>"),
        ("either/or", "either/or"),
        ("a decade of facade", "a decade of facade"),
        ("v2", "v<num>"),
        ("\ud800 7", "\ud800 <num>"),
    ],
)
def test_what_varies_is_replaced_by_its_kind(text: str, template: str) -> None:
    assert fingerprint(text) == template


def _said(row: int, share: float, run: UUID, name: str) -> str:
    return (
        f"Row {row}: {share:.3f} of {run} in /data/{name}.csv ({row:,}, {share:e}, {abs(row):#x})"
    )


@settings(deadline=None)
@given(
    row=st.integers(),
    share=st.floats(allow_nan=False, allow_infinity=False),
    run=st.uuids(),
    name=st.from_regex(r"[a-z0-9_.-]+", fullmatch=True),
)
def test_one_f_string_has_one_fingerprint(row: int, share: float, run: UUID, name: str) -> None:
    words = "Row <num>: <num> of <uuid> in <path> (<num>, <num>, <hex>)"
    assert fingerprint(_said(row, share, run, name)) == words


@settings(deadline=None)
@given(text=st.text())
def test_a_fingerprint_holds_no_digit(text: str) -> None:
    assert re.search(r"\d", fingerprint(text)) is None


@settings(deadline=None)
@given(words=st.lists(st.from_regex(r"[a-z]+|[0-9]+|/[a-z]{2,}|<num>", fullmatch=True)))
def test_a_fingerprint_is_its_own_fingerprint(words: list[str]) -> None:
    once = fingerprint(" ".join(words))
    assert fingerprint(once) == once
