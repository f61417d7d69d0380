"""The settings, from options and from the environment."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from prefect_otel_status.settings import (
    PREFIX,
    ConfigurationError,
    Settings,
    load,
    load_safely,
    seconds_of,
    warn_about_unknown,
)

# Each setting: its text in the environment, what that means, and its default.
FIELDS: dict[str, tuple[str, Any, Any]] = {
    "enabled": ("false", False, True),
    "trace_root": ("bridge", "bridge", "process"),
    "environment": ("prod", "prod", None),
    "span_events": ("0", False, True),
    "log_events": ("no", False, True),
    "metrics": ("off", False, True),
    "prometheus": ("1", True, False),
    "prefect_events": ("FALSE", False, True),
    "run_log": ("f", False, True),
    "console": ("n", False, True),
    "log_lines": ("false", False, True),
    "log_status_level": ("error", "ERROR", "WARNING"),
    "stages": (" load, train ,,", ("load", "train"), ()),
    "levels": ("info,error", ("info", "error"), ("debug", "info", "warning", "error", "critical")),
    "message_length": ("4096", 4096, 160),
    "labels": ("model,team", ("model", "team"), ()),
    "label_budget": ("1", 1, 200),
    "redact": ("EMP-\\d{2,4}\n\nx+", ("EMP-\\d{2,4}", "x+"), ()),
    "trace_url": ("http://ui/trace/{trace_id}", "http://ui/trace/{trace_id}", None),
    "progress_artifact": ("true", True, False),
    "folder": ("/var/otel", Path("/var/otel"), None),
    "folder_size": ("1000", 1000, 64_000_000),
    "store": ("/var/bridge.db", "/var/bridge.db", None),
    "listen": ("[::1]:9000", "[::1]:9000", "127.0.0.1:9464"),
    "allow_public": ("true", True, False),
    "allowed_hosts": ("bridge, bridge.example", ("bridge", "bridge.example"), ()),
    "web_token_file": ("/run/token", Path("/run/token"), None),
    "jaeger_url": ("http://jaeger:16686", "http://jaeger:16686", ""),
    "backfill": ("7d", "7d", "24h"),
    "sweep_interval": ("0.5", 0.5, 5.0),
    "settle": ("0", 0.0, 10.0),
    "scrape_interval": ("60", 60.0, 15.0),
    "lease": ("1", 1.0, 10.0),
    "retention": ("30d", "30d", "8d"),
    "outbox_size": ("1000000", 1_000_000, 256_000_000),
    "outbox_age": ("90m", "90m", "7d"),
    "heartbeat_period": ("30", 30.0, 180.0),
    "bridge_logs": ("true", True, False),
    "bridge_metrics": ("true", True, False),
    "queue_size": ("1", 1, 10_000),
    "event_interval": ("0", 0.0, 1.0),
    "handler_timeout": ("0.5", 0.5, 2.0),
    "exit_timeout": ("30", 30.0, 2.0),
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin each test without a variable of ours."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name}".upper(), raising=False)


def set_variables(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Set our variables to VALUES."""
    for name, value in values.items():
        monkeypatch.setenv(f"{PREFIX}{name}".upper(), value)


def complaint(**options: Any) -> str:
    """What `load` says about OPTIONS that are wrong."""
    with pytest.raises(ConfigurationError) as caught:
        load(**options)
    assert caught.value.__cause__ is None
    return str(caught.value)


# --- reading -------------------------------------------------------------------


def test_this_table_knows_every_setting() -> None:
    assert list(FIELDS) == list(Settings.model_fields)


def test_nothing_set_gives_the_defaults() -> None:
    expected = {name: default for name, (_, _, default) in FIELDS.items()}
    found = load().model_dump()
    assert found.pop("folder").name == "prefect-otel-status"
    del expected["folder"]
    assert found == expected


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_read_from_its_variable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value, _ = FIELDS[name]
    set_variables(monkeypatch, **{name: text})
    assert load().model_dump(exclude={"folder"} - {name}) == {
        **Settings.model_construct().model_dump(exclude={"folder"} - {name}),
        name: value,
    }


def test_all_settings_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, **{name: text for name, (text, _, _) in FIELDS.items()})
    assert load().model_dump() == {name: value for name, (_, value, _) in FIELDS.items()}


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_taken_as_an_option_and_stands_over_the_environment(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, **{name: "not valid for anything {trace_id}"})
    value = FIELDS[name][1]
    assert getattr(load(**{name: value}), name) == value


def test_every_setting_is_described() -> None:
    missing = [name for name, field in Settings.model_fields.items() if not field.description]
    assert missing == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().enabled = False


@pytest.mark.parametrize(
    ("level", "number"),
    [
        ("DEBUG", 10),
        ("info", 20),
        ("Warning", 30),
        ("ERROR", 40),
        ("critical", 50),
        ("off", 10_000),
    ],
)
def test_the_log_level_is_a_number(level: str, number: int) -> None:
    assert load(log_status_level=level).status_from_level == number


def test_an_empty_trace_address_is_none() -> None:
    assert load(trace_url="").trace_url is None


def test_names_are_taken_as_a_sequence_too() -> None:
    found = load(stages=["a, b", "c"], redact=("x,y",))
    assert (found.stages, found.redact) == (("a, b", "c"), ("x,y",))


# --- complaining ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"enabled": "perhaps"},
            "Bad setting: PREFECT_OTEL_STATUS_ENABLED: input should be a valid boolean, "
            "unable to interpret input.",
        ),
        (
            {"trace_root": "server"},
            "Bad setting: PREFECT_OTEL_STATUS_TRACE_ROOT: input should be 'process' or 'bridge'.",
        ),
        (
            {"message_length": 0},
            "Bad setting: PREFECT_OTEL_STATUS_MESSAGE_LENGTH: "
            "input should be greater than or equal to 1.",
        ),
        (
            {"message_length": 4097},
            "Bad setting: PREFECT_OTEL_STATUS_MESSAGE_LENGTH: "
            "input should be less than or equal to 4096.",
        ),
        (
            {"label_budget": "many"},
            "Bad setting: PREFECT_OTEL_STATUS_LABEL_BUDGET: "
            "input should be a valid integer, unable to parse string as an integer.",
        ),
        (
            {"folder_size": 10},
            "Bad setting: PREFECT_OTEL_STATUS_FOLDER_SIZE: "
            "input should be greater than or equal to 1000.",
        ),
        (
            {"queue_size": -1},
            "Bad setting: PREFECT_OTEL_STATUS_QUEUE_SIZE: "
            "input should be greater than or equal to 1.",
        ),
        (
            {"event_interval": -1},
            "Bad setting: PREFECT_OTEL_STATUS_EVENT_INTERVAL: "
            "input should be greater than or equal to 0.",
        ),
        (
            {"handler_timeout": 0},
            "Bad setting: PREFECT_OTEL_STATUS_HANDLER_TIMEOUT: input should be greater than 0.",
        ),
        (
            {"exit_timeout": 31},
            "Bad setting: PREFECT_OTEL_STATUS_EXIT_TIMEOUT: "
            "input should be less than or equal to 30.",
        ),
        (
            {"exit_timeout": float("nan")},
            "Bad setting: PREFECT_OTEL_STATUS_EXIT_TIMEOUT: input should be a finite number.",
        ),
        (
            {"log_status_level": "LOUD"},
            "Bad setting: PREFECT_OTEL_STATUS_LOG_STATUS_LEVEL: "
            "use one of DEBUG, INFO, WARNING, ERROR, CRITICAL, OFF.",
        ),
        (
            {"redact": "a\n(b"},
            "Bad setting: PREFECT_OTEL_STATUS_REDACT: '(b' is not a regular expression: "
            "missing ), unterminated subpattern at position 0.",
        ),
        (
            {"trace_url": "http://ui/trace"},
            "Bad setting: PREFECT_OTEL_STATUS_TRACE_URL: "
            "put {trace_id} where the trace id belongs.",
        ),
        (
            {"trace_rot": "bridge"},
            "Bad setting: PREFECT_OTEL_STATUS_TRACE_ROT: "
            "there is no such setting, perhaps 'trace_root'.",
        ),
        ({"xyzzy": 1}, "Bad setting: PREFECT_OTEL_STATUS_XYZZY: there is no such setting."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_named_with_what_to_use(options: dict[str, Any], words: str) -> None:
    assert complaint(**options) == words


def test_all_bad_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, metrics="maybe", queue_size="0")
    assert complaint() == (
        "Bad setting: PREFECT_OTEL_STATUS_METRICS: input should be a valid boolean, "
        "unable to interpret input; "
        "PREFECT_OTEL_STATUS_QUEUE_SIZE: input should be greater than or equal to 1."
    )


@pytest.mark.parametrize("name", ["event_interval", "handler_timeout", "exit_timeout"])
@pytest.mark.parametrize("value", ["inf", "1e400", "nan"])
def test_a_duration_without_end_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, **{name: value})
    assert complaint().startswith(f"Bad setting: {PREFIX}{name.upper()}: input should be ")


@pytest.mark.parametrize("name", ["event_interval", "handler_timeout"])
def test_a_duration_that_no_clock_can_wait_for_is_refused(name: str) -> None:
    assert complaint(**{name: 1e12}).startswith(
        f"Bad setting: {PREFIX}{name.upper()}: input should be "
    )


# --- inside a flow -------------------------------------------------------------


def test_inside_a_flow_bad_settings_are_logged_and_the_good_ones_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_variables(monkeypatch, queue_size="0", stages="load,train", environment="prod", metrics="0")
    found = load_safely()
    assert found == load(queue_size=10_000, stages="load,train", environment="prod", metrics=False)
    assert caplog.record_tuples == [
        (
            "prefect_otel_status",
            logging.ERROR,
            "Bad setting: PREFECT_OTEL_STATUS_QUEUE_SIZE: input should be greater than or equal "
            "to 1. The defaults are used instead.",
        )
    ]


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"queue_size"}))
def test_inside_a_flow_every_good_setting_survives_a_bad_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value, _ = FIELDS[name]
    set_variables(monkeypatch, **{name: text, "queue_size": "0"})
    assert getattr(load_safely(), name) == value


def test_inside_a_flow_good_settings_are_used_in_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_variables(monkeypatch, environment="prod")
    assert load_safely() == load(environment="prod")
    assert caplog.record_tuples == []


# --- unknown variables ---------------------------------------------------------


def test_an_unknown_variable_is_warned_about_with_the_nearest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ = {
        "PREFECT_OTEL_STATUS_STAGE": "a",
        "PREFECT_OTEL_STATUS_QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ": "b",
        "PREFECT_OTEL_STATUS_STAGES": "c",
        "PREFECT_API_URL": "d",
    }
    assert warn_about_unknown(environ) == list(environ)[:2]
    assert caplog.record_tuples == [
        (
            "prefect_otel_status",
            logging.WARNING,
            "PREFECT_OTEL_STATUS_STAGE is not a setting of prefect-otel-status. "
            "Did you mean PREFECT_OTEL_STATUS_STAGES?",
        ),
        (
            "prefect_otel_status",
            logging.WARNING,
            "PREFECT_OTEL_STATUS_QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ "
            "is not a setting of prefect-otel-status.",
        ),
    ]


def test_an_unknown_variable_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(f"{PREFIX}ENVIROMENT", "prod")
    set_variables(monkeypatch, enabled="0")
    assert load().enabled is False
    assert [record.message for record in caplog.records] == [
        "PREFECT_OTEL_STATUS_ENVIROMENT is not a setting of prefect-otel-status. "
        "Did you mean PREFECT_OTEL_STATUS_ENVIRONMENT?"
    ]


# --- durations ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("0", 0), ("90", 90), ("1.5s", 1.5), ("90m", 5400), ("24h", 86_400)),
        *((" 7 d ", 604_800), ("1w", 604_800), ("365d", 365 * 86_400)),
    ],
)
def test_a_duration_is_in_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "ages", "-1h", "1y", "1h30m", "366d", "1e9", "nan", "9" * 20])
@pytest.mark.parametrize("name", ["backfill", "retention", "outbox_age"])
def test_what_is_no_duration_is_refused_with_what_to_write(name: str, text: str) -> None:
    said = f"Bad setting: {PREFIX}{name.upper()}: {text!r} is no duration; "
    assert complaint(**{name: text}) == f"{said}write 90m, 24h or 7d, at most 365d."
