"""Records are made safe and judged by the vocabulary, once, before any sink sees them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prefect_otel_status import sanitize, signals
from prefect_otel_status.cleaner import LONG_MESSAGE, RESERVED_NAME, UNKNOWN_STAGE
from prefect_otel_status.sanitize import TOO_MANY_ATTRIBUTES
from prefect_otel_status.tally import Tally
from tests.support.hostile import SECRET_PARTS, SECRETS, TEN_MEGABYTES, VALUES, RaisingAttributes
from tests.support.records import (
    cleaner,
    flow_run,
    gate_result,
    log_line,
    stage_end,
    status,
    task_run,
    transition,
)

BAD = "a\x00\ud800 pwd=hunter22\nb"
GOOD_TEXT = "a\ufffd\ufffd pwd=[redacted]\nb"
GOOD_LINE = "a\ufffd\ufffd pwd=[redacted] b"


def test_a_good_status_is_unchanged() -> None:
    good = status(
        "Scored {model}",
        message="Scored bert",
        event="scored",
        stage="score",
        level="warning",
        progress=0.5,
        attributes={"model": "bert", "p": 0.9, "n": 3},
        bound={"model.name": "bert"},
        flags=("missing_field",),
        origin="track",
    )
    assert cleaner().clean(good) == good


def test_every_text_of_a_status_is_made_safe() -> None:
    bad = status(BAD, event=BAD, stage=BAD, attributes={"n\x00": BAD}, bound={"n\x00": BAD})
    assert cleaner().clean(bad) == status(
        GOOD_LINE,
        message=GOOD_TEXT,
        event=GOOD_LINE,
        stage=GOOD_LINE,
        attributes={"n\ufffd": GOOD_TEXT},
        bound={"n\ufffd": GOOD_TEXT},
    )


def test_every_text_of_a_transition_is_made_safe() -> None:
    bad = transition(message=BAD, state_name=BAD, error_type=BAD, bound={"b": BAD})
    assert cleaner().clean(bad) == transition(
        message=GOOD_TEXT, state_name=GOOD_LINE, error_type=GOOD_LINE, bound={"b": GOOD_TEXT}
    )


def test_a_good_transition_without_an_error_is_unchanged() -> None:
    assert cleaner().clean(transition()) == transition()


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        (stage_end(BAD, bound={"b": BAD}), stage_end(GOOD_LINE, bound={"b": GOOD_TEXT})),
        (gate_result(BAD, bound={"b": BAD}), gate_result(GOOD_LINE, bound={"b": GOOD_TEXT})),
        (log_line(BAD, attributes={"b": BAD}), log_line(GOOD_TEXT, attributes={"b": GOOD_TEXT})),
    ],
    ids=["stage", "gate", "log line"],
)
def test_every_text_of_the_other_records_is_made_safe(bad: Any, good: Any) -> None:
    assert cleaner().clean(bad) == good


@pytest.mark.parametrize(
    "record",
    [status, transition, stage_end, gate_result, log_line],
)
def test_the_names_of_a_run_are_made_safe(record: Any) -> None:
    names = {"name": BAD, "flow_name": BAD, "task_name": BAD}
    good = dict.fromkeys(names, GOOD_LINE)
    assert cleaner().clean(record(run=task_run(**names))) == record(run=task_run(**good))


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_any_value_of_an_attribute_can_be_sent(value: Any) -> None:
    frozen = "x" if isinstance(value, RaisingAttributes) else sanitize.freeze(value)
    clean = cleaner().clean(status(attributes={"a": frozen, "b": 1}))
    assert msgspec.json.decode(msgspec.json.encode(clean))["attributes"]["b"] == 1


@pytest.mark.parametrize("kind", SECRETS)
def test_no_secret_is_left_anywhere_in_a_status(kind: str) -> None:
    secret = SECRETS[kind]
    dirty = status(
        secret, event=secret, stage=secret, attributes={"a": secret}, bound={"b": secret}
    )
    assert SECRET_PARTS[kind] not in repr(cleaner().clean(dirty))


@pytest.mark.parametrize("kind", SECRETS)
def test_no_secret_is_left_where_a_text_is_cut(kind: str) -> None:
    secret, part = SECRETS[kind], SECRET_PARTS[kind]
    start = sanitize.TEXT_LIMIT - secret.index(part) - len(part) // 2 - 2
    for shift in range(len(part) // 2 + 2):
        text = cleaner().text("x" * (start - shift - 1) + " " + secret + " and more " * 20)
        assert part[: len(part) // 2] not in text


def test_colour_does_not_hide_a_secret() -> None:
    assert cleaner().text("\x1b[31mAKIAIOSFODNN7EXAMPLE\x1b[0m") == "[redacted]"


def test_lines_are_cut_after_their_secrets_are_gone() -> None:
    text = "x " * 90 + SECRETS["jwt"] + " " + "y" * 500
    line = cleaner().line(text)
    assert line == "x " * 90 + "[redacted] " + "y" * 8 + "…"
    assert len(line) == sanitize.LABEL_LIMIT


def test_ten_megabytes_become_a_page_and_a_line() -> None:
    clean: Any = cleaner().clean(status(TEN_MEGABYTES, attributes={"a": TEN_MEGABYTES}))
    assert (len(clean.template), len(clean.message), len(clean.attributes["a"])) == (
        200,
        4096,
        4096,
    )


# --- judging -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        (status(stage="lod"), UNKNOWN_STAGE),
        (status(message="x" * 161), LONG_MESSAGE),
        (status(attributes={f"a{n}": n for n in range(1000)}), TOO_MANY_ATTRIBUTES),
        (status(attributes={"prefect_status.level": "info"}), RESERVED_NAME),
    ],
    ids=[UNKNOWN_STAGE, LONG_MESSAGE, TOO_MANY_ATTRIBUTES, RESERVED_NAME],
)
def test_what_is_odd_is_kept_flagged_and_counted(said: Any, flag: str) -> None:
    tally = Tally()
    clean: Any = cleaner(tally=tally, stages="load,score").clean(said)
    assert clean.flags == (flag,)
    assert tally.read() == {(signals.PROCESS_FLAGS, flag): 1}
    assert (clean.stage, clean.message) == (said.stage, said.message)


def test_all_that_is_odd_is_flagged_beside_what_was_flagged_before() -> None:
    tally = Tally()
    said = status(
        stage="lod",
        message="x" * 200,
        flags=("missing_field",),
        attributes={"prefect_status.message": 1, **{f"a{n}": n for n in range(64)}},
    )
    clean: Any = cleaner(tally=tally, stages="load").clean(said)
    flags = ("missing_field", UNKNOWN_STAGE, LONG_MESSAGE, TOO_MANY_ATTRIBUTES, RESERVED_NAME)
    assert clean.flags == flags
    assert tally.read() == {(signals.PROCESS_FLAGS, flag): 1 for flag in flags}


@pytest.mark.parametrize(
    "said",
    [
        status(stage="load"),
        status(stage=None),
        status(stage=""),
        status(message="x" * 160),
        status(message="x" * 161, origin="log"),
        status(attributes={f"a{n}": n for n in range(64)}),
    ],
)
def test_what_is_within_the_vocabulary_is_not_flagged(said: Any) -> None:
    tally = Tally()
    assert cleaner(tally=tally, stages="load").clean(said) == said
    assert tally.read() == {}


def test_without_a_vocabulary_any_stage_will_do() -> None:
    assert cleaner().clean(status(stage="lod")) == status(stage="lod")


def test_a_value_under_one_of_our_own_names_is_left_out() -> None:
    ours = (
        signals.MESSAGE,
        signals.TEMPLATE,
        signals.STAGE,
        signals.LEVEL,
        signals.PROGRESS,
        signals.SEQUENCE,
        signals.ATTEMPT,
        signals.FLAGS,
    )
    said = status(attributes={**{name.name: "mine" for name in ours}, "model": "bert"})
    clean: Any = cleaner().clean(said)
    assert clean.attributes == {"model": "bert"}


def test_a_secret_is_counted_by_its_kind() -> None:
    tally = Tally()
    cleaner(tally=tally).clean(status("t", message="pwd=hunter22", attributes={"token": "x"}))
    assert tally.read() == {
        (signals.PROCESS_REDACTIONS, "password"): 1,
        (signals.PROCESS_REDACTIONS, "named"): 1,
    }


def test_patterns_of_the_settings_are_used() -> None:
    assert cleaner(redact=r"EMP-\d+").text("by EMP-17") == "by [redacted]"


# --- names, which come again and again -----------------------------------------


def test_more_names_than_are_remembered_are_cleaned_all_the_same() -> None:
    clean = cleaner()
    names = [f"stage\n{number}" for number in range(3000)]
    found = [clean.clean(status(stage=name)).stage for name in names]  # type: ignore[union-attr]
    assert found == [name.replace("\n", " ") for name in names]


def test_a_name_too_long_to_be_remembered_is_cut() -> None:
    clean: Any = cleaner().clean(status("n" * 600, message="m"))
    assert clean.template == "n" * 199 + "…"


def test_a_name_is_cleaned_once() -> None:
    tally = Tally()
    shared = cleaner(tally=tally)
    for _ in range(3):
        shared.clean(status("pwd=hunter22", message="m"))
    assert tally.read() == {(signals.PROCESS_REDACTIONS, "password"): 1}


def test_a_run_that_is_unknown_stays_unknown() -> None:
    assert cleaner().clean(status(run=None)) == status(run=None)
    assert cleaner().clean(status(run=flow_run())) == status(run=flow_run())
