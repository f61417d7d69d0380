"""Lines of Prefect's run loggers: log records, and statuses from WARNING up."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import prefect
import pytest
from prefect import flow, task

from prefect_otel_status import loglines, signals, status
from prefect_otel_status.model import LogLine
from prefect_otel_status.sinks.run_log import OWN_LINE, make_record
from tests.support.hostile import VALUES
from tests.support.records import FLOW_RUN_ID, NOW, TASK_RUN_ID, flow_run, task_run
from tests.support.records import status as a_status
from tests.support.telling import Told, a_task_run, in_task, is_safe

Tell = Callable[..., Told]
PREFECT = os.path.dirname(prefect.__file__)
FLOWS, TASKS = (logging.getLogger(name) for name in loglines.LOGGERS)


@flow
def train() -> None:
    """The flow of these tests."""


@task
def score() -> None:
    """Its task."""


@pytest.fixture(autouse=True)
def taken_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The run loggers' lines are taken in, and only shown to us."""
    for logger in (FLOWS, TASKS):
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", False)
        monkeypatch.setattr(logger, "level", logging.DEBUG)
    loglines.install()
    yield
    loglines.remove()


def record(words: Any = "read 3 files", level: int = logging.INFO, **changes: Any) -> Any:
    """A line as a run logger makes it, at a fixed time."""
    made = logging.LogRecord("prefect.flow_runs", level, "/flows/train.py", 7, words, (), None)
    made.funcName, made.created = "train", NOW / 1e9
    for name, value in {"flow_run_id": FLOW_RUN_ID, **changes}.items():
        setattr(made, name, value)
    return made


# --- whose line it is ---------------------------------------------------------


def test_a_line_is_taken_in_whole(told: Told) -> None:
    with told.run_of(train):
        FLOWS.handle(record())
    span = told.spans["RUN train"].context
    assert told.of(object) == [
        LogLine(
            "read 3 files",
            severity=9,
            severity_text="INFO",
            logger="prefect.flow_runs",
            timestamp=NOW,
            attributes={"code.function.name": "train", "code.line.number": 7},
            run=flow_run(),
            trace_id=span.trace_id,
            span_id=span.span_id,
            sampled=True,
        )
    ]


def test_a_line_belongs_to_the_run_that_it_names(told: Told) -> None:
    with told.run_of(train), in_task(score, a_task_run()):
        status("the task is known")
    with told.run_of(train):
        FLOWS.handle(record("of the task", task_run_id=TASK_RUN_ID))
        FLOWS.handle(record("of the flow"))
        FLOWS.handle(record("of an unknown", flow_run_id="0" * 32))
        FLOWS.handle(record("of no one", flow_run_id="no uuid"))
    named = {line.message: line.run for line in told.lines}
    assert named == {
        "of the task": task_run(),
        "of the flow": flow_run(),
        "of an unknown": flow_run(),
        "of no one": flow_run(),
    }


def test_a_line_outside_a_run_has_no_place(told: Told) -> None:
    FLOWS.handle(record(flow_run_id=None))
    assert [(line.run, line.trace_id, line.sampled) for line in told.lines] == [(None, 0, False)]


# --- what is left out ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "internal"),
    [
        ({}, False),
        ({"pathname": f"{PREFECT}/flow_engine.py"}, True),
        ({"pathname": f"{PREFECT}/utilities/engine.py", "funcName": "print_as_log"}, False),
        ({"pathname": f"{PREFECT}_extra/own.py"}, False),
        ({OWN_LINE: True}, True),
    ],
)
def test_prefects_own_lines_and_ours_are_not_taken_in(
    told: Told, changes: dict[str, Any], internal: bool
) -> None:
    line = record(level=logging.ERROR, **changes)
    assert loglines.is_internal(line) is internal
    FLOWS.handle(line)
    assert (len(told.lines), len(told.statuses)) == ((0, 0) if internal else (1, 1))


def test_a_line_that_we_wrote_is_internal() -> None:
    assert loglines.is_internal(make_record("prefect.flow_runs", a_status(), flow_run()))


@pytest.mark.parametrize(
    ("words", "arguments", "kept"),
    [
        ("Running hook 'prefect_otel_status' in response to entering state 'Running'", (), False),
        ("Hook 'prefect_otel_status' finished running successfully", (), False),
        ("Running hook %r in response to entering state %r", (signals.HOOK_NAME, "A"), False),
        ("Running hook 'page_me' in response to entering state 'Running'", (), True),
        ("Hook %r finished running successfully", ("page_me",), True),
        ("read %d files", (3,), True),
        (RuntimeError("no text"), (), True),
    ],
)
def test_prefects_lines_about_our_hook_are_dropped(
    words: Any, arguments: tuple[Any, ...], kept: bool
) -> None:
    line = logging.LogRecord("prefect.flow_runs", 20, "/x.py", 1, words, arguments, None)
    assert loglines.HookLineFilter().filter(line) is kept


def test_without_log_lines_only_warnings_are_said(tell: Tell) -> None:
    told = tell(log_lines=False)
    FLOWS.handle(record("a"))
    FLOWS.handle(record("b", logging.WARNING))
    assert told.lines == []
    assert told.messages == ["b"]


def test_disabled_nothing_is_taken_in(tell: Tell) -> None:
    told = tell(enabled=False)
    FLOWS.handle(record(level=logging.ERROR))
    assert told.of(object) == []


# --- statuses -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("DEBUG", ["debug", "info", "warning", "error", "critical"]),
        ("WARNING", ["warning", "error", "critical"]),
        ("error", ["error", "critical"]),
        ("OFF", []),
    ],
)
def test_from_the_level_in_the_settings_up_a_line_is_a_status(
    tell: Tell, setting: str, said: list[str]
) -> None:
    told = tell(log_status_level=setting)
    for level in (10, 20, 30, 40, 50):
        FLOWS.handle(record("words", level))
    assert [(found.level, found.origin, found.message) for found in told.statuses] == [
        (level, "log", "words") for level in said
    ]
    assert len(told.lines) == 5


def test_the_unfilled_text_is_the_template(told: Told) -> None:
    line = record("read %d of {n} files", logging.WARNING)
    line.args = (3,)
    FLOWS.handle(line)
    FLOWS.handle(record("read 7 of {n} files", logging.WARNING))
    assert [(said.template, said.message) for said in told.statuses] == [
        ("read %d of {n} files", "read 3 of {n} files"),
        ("read <num> of {n} files", "read 7 of {n} files"),
    ]
    assert [said.flags for said in told.statuses] == [(), ()]


@pytest.mark.parametrize(
    ("level", "severity", "name"),
    [
        (0, 1, "debug"),
        (5, 3, "debug"),
        (10, 5, "debug"),
        (20, 9, "info"),
        (25, 11, "info"),
        (30, 13, "warning"),
        (35, 15, "warning"),
        (40, 17, "error"),
        (50, 21, "critical"),
        (1000, 24, "critical"),
    ],
)
def test_a_level_has_a_severity_and_a_name(level: int, severity: int, name: str) -> None:
    assert (loglines._severity(level), loglines._level(level)) == (severity, name)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_hostile_words_are_taken_in_safely(told: Told, value: Any) -> None:
    loglines.RunLogHandler().handle(record(value, logging.ERROR))
    assert is_safe([told.lines, told.statuses])
    assert set(told.tally(signals.PROCESS_FAILURES)) <= {"log_line"}


def test_a_line_whose_arguments_do_not_fit_is_counted(told: Told) -> None:
    line = record("read %d files")
    line.args = ("many",)
    loglines.RunLogHandler().handle(line)
    assert told.lines == []
    assert told.tally(signals.PROCESS_FAILURES) == {"log_line": 1}


# --- installing ---------------------------------------------------------------


def test_it_is_installed_once_and_taken_out_whole() -> None:
    loglines.remove()
    before = [(list(logger.handlers), list(logger.filters)) for logger in (FLOWS, TASKS)]
    loglines.install()
    loglines.install()
    assert [len(logger.handlers) for logger in (FLOWS, TASKS)] == [
        len(handlers) + 1 for handlers, _ in before
    ]
    loglines.remove()
    loglines.remove()
    assert [(list(logger.handlers), list(logger.filters)) for logger in (FLOWS, TASKS)] == before


@pytest.mark.server
@pytest.mark.usefixtures("prefect_here")
def test_what_a_flow_prints_and_logs_is_taken_in_and_prefects_lines_are_not(told: Told) -> None:
    from prefect import get_run_logger

    from prefect_otel_status import flow_hooks

    @flow(log_prints=True, **flow_hooks())
    def talking() -> None:
        print("printed")
        get_run_logger().warning("logged %s", "here")

    talking()
    assert [(line.message, line.severity_text) for line in told.lines] == [
        ("printed", "INFO"),
        ("logged here", "WARNING"),
    ]
    assert {line.run.flow_name if line.run else None for line in told.lines} == {"talking"}
    assert [(said.template, said.message, said.origin) for said in told.statuses] == [
        ("logged %s", "logged here", "log")
    ]
