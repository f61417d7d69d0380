"""Statuses as lines of Prefect's run log."""

from __future__ import annotations

import gc
import io
import json
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from contextvars import Context, ContextVar, copy_context
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prefect.logging.formatters import PrefectFormatter
from prefect.logging.handlers import APILogHandler, PrefectConsoleHandler
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_COLORS,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)
from rich.console import Console

from prefect_otel_status.sinks.base import Sink
from prefect_otel_status.sinks.run_log import RunLogSink, make_record, send_lines, to_line
from tests.support.records import (
    FLOW_RUN_ID,
    NOW,
    SECOND,
    TASK_RUN_ID,
    envelopes,
    flow_run,
    log_line,
    status,
    task_run,
    transition,
)

LINE = {
    "name": "prefect.flow_runs",
    "level": 20,
    "message": "Scored bert",
    "timestamp": "2023-11-14T22:13:20+00:00",
    "flow_run_id": FLOW_RUN_ID,
}
LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class Handlers:
    """What the loggers of runs write to during a test: the API, and a console."""

    def __init__(self) -> None:
        self.api = APILogHandler()
        self.stream = io.StringIO()
        self.console = self.console_on(self.stream)

    def console_on(self, stream: Any) -> PrefectConsoleHandler:
        """A console as Prefect sets it up, on STREAM."""
        with temporary_settings({PREFECT_LOGGING_COLORS: False}):
            handler = PrefectConsoleHandler(stream=stream)
        form = "%(asctime)s.%(msecs)03d | %(levelname)-7s | "
        handler.setFormatter(
            PrefectFormatter(
                form + "%(name)s - %(message)s",
                "%H:%M:%S",
                flow_run_fmt=form + "Flow run %(flow_run_name)r - %(message)s",
                task_run_fmt=form + "Task run %(task_run_name)r - %(message)s",
            )
        )
        return handler

    @property
    def shown(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Handlers]:
    """The loggers of runs with the handlers that Prefect gives them, and the time in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    found = Handlers()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [found.api, found.console])
        monkeypatch.setattr(logger, "propagate", False)
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "level", logging.DEBUG)
        logger.manager._clear_cache()  # type: ignore[attr-defined]  # what is enabled is cached
    yield found
    monkeypatch.undo()
    time.tzset()
    logging.getLogger(LOGGERS[0]).manager._clear_cache()  # type: ignore[attr-defined]


class Posts:
    """A sink, and the lines that it posted, batch by batch."""

    def __init__(self, *, console: bool = True) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.contexts: list[Context] = []
        self.sink = RunLogSink(self._post, console=console)

    def _post(self, lines: list[dict[str, Any]], context: Context) -> None:
        self.batches.append(lines)
        self.contexts.append(context)

    def say(self, *messages: str, context: Context | None = None, **changes: Any) -> None:
        said = [status(message, **changes) for message in messages]
        self.sink.accept(envelopes(*said, context=context or copy_context()))

    @property
    def messages(self) -> list[list[str]]:
        return [[line["message"] for line in lines] for lines in self.batches]


# --- lines for the API ---------------------------------------------------------


def test_a_status_is_a_line_of_its_run(handlers: Handlers) -> None:
    posts = Posts()
    posts.say("Scored bert")
    assert posts.sink.tick(NOW) is None
    assert posts.batches == [[LINE]]


def test_a_status_of_a_task_is_a_line_of_its_task_run(handlers: Handlers) -> None:
    posts = Posts()
    posts.say("Scored bert", run=task_run(), level="critical", timestamp=NOW + SECOND // 4)
    posts.sink.flush()
    assert posts.batches == [
        [
            {
                "name": "prefect.task_runs",
                "level": 50,
                "message": "Scored bert",
                "timestamp": "2023-11-14T22:13:20.250000+00:00",
                "flow_run_id": FLOW_RUN_ID,
                "task_run_id": TASK_RUN_ID,
            }
        ]
    ]


def test_lines_are_sent_twice_a_second_at_most(handlers: Handlers) -> None:
    posts = Posts()
    posts.say("a")
    assert posts.sink.tick(NOW) is None
    posts.say("b")
    posts.say("c")
    assert posts.sink.tick(NOW + 1) == NOW + SECOND // 2
    assert posts.messages == [["a"]]
    assert posts.sink.tick(NOW + SECOND // 2) is None
    assert posts.sink.tick(NOW + SECOND) is None
    assert posts.messages == [["a"], ["b", "c"]]


def test_flush_sends_all_in_batches(handlers: Handlers) -> None:
    posts = Posts(console=False)
    posts.say(*(str(number) for number in range(1200)))
    posts.sink.flush()
    posts.sink.flush()
    assert [len(batch) for batch in posts.batches] == [500, 500, 200]
    assert [m for batch in posts.messages for m in batch] == [str(n) for n in range(1200)]


def test_with_nothing_said_there_is_nothing_to_send(handlers: Handlers) -> None:
    posts = Posts()
    assert isinstance(posts.sink, Sink)
    posts.sink.flush()
    assert (posts.sink.tick(NOW), posts.batches) == (None, [])


def test_lines_are_sent_in_the_context_of_their_run(handlers: Handlers) -> None:
    posts, context = Posts(), copy_context()
    posts.say("a", context=context)
    posts.sink.flush()
    assert posts.contexts == [context]


def test_after_a_flush_the_run_is_let_go(handlers: Handlers) -> None:
    class Result:
        """Something large that a run's context holds."""

    held: ContextVar[Any] = ContextVar("held")
    context, result = copy_context(), Result()
    context.run(held.set, result)
    reference = weakref.ref(result)
    sink = RunLogSink(lambda lines, context: None)
    sink.accept(envelopes(status("a"), context=context))
    sink.flush()
    del context, result
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("origin", ["status", "gate", "track", "state"])
def test_what_was_spoken_is_written(origin: str, handlers: Handlers) -> None:
    posts = Posts()
    posts.say("a", origin=origin)
    posts.sink.flush()
    assert (posts.messages, len(handlers.shown)) == ([["a"]], 1)


def test_what_is_in_the_log_already_or_no_status_of_a_run_is_not_written(
    handlers: Handlers,
) -> None:
    posts = Posts()
    posts.say("a", origin="log")
    posts.say("b", run=None)
    posts.sink.accept(envelopes(transition(), log_line(), context=copy_context()))
    posts.sink.flush()
    assert (posts.batches, handlers.shown) == ([], [])


def test_the_level_of_the_logger_is_obeyed(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger(LOGGERS[0])
    monkeypatch.setattr(logger, "level", logging.WARNING)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    posts = Posts()
    for level in ("debug", "info", "warning", "error"):
        posts.say(level, level=level)
    posts.sink.flush()
    assert posts.messages == [["warning", "error"]]
    assert len(handlers.shown) == 2


def test_a_logger_that_is_switched_off_is_left_alone(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(LOGGERS[0]), "disabled", True)
    posts = Posts()
    posts.say("a")
    posts.sink.flush()
    assert (posts.batches, handlers.shown) == ([], [])


def test_the_level_of_the_api_handler_is_obeyed(handlers: Handlers) -> None:
    handlers.api.setLevel(logging.WARNING)
    posts = Posts()
    posts.say("a")
    posts.say("b", level="warning")
    posts.sink.flush()
    assert posts.messages == [["b"]]


def test_without_an_api_handler_or_a_context_the_line_is_only_shown(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts = Posts()
    posts.sink.accept(envelopes(status("without a context")))
    monkeypatch.setattr(logging.getLogger(LOGGERS[0]), "handlers", [handlers.console])
    posts.say("without a handler")
    posts.sink.flush()
    assert (posts.batches, len(handlers.shown)) == ([], 2)


def test_what_is_unsafe_can_be_sent(handlers: Handlers) -> None:
    posts = Posts()
    posts.say("\ud800 pwd=hunter22 \x00")
    posts.sink.flush()
    body = json.dumps(posts.batches, ensure_ascii=False).encode()
    assert json.loads(body)[0][0]["message"] == "\ufffd pwd=[redacted] \ufffd"


# --- the console ---------------------------------------------------------------


def test_lines_are_shown_as_prefect_shows_its_own(handlers: Handlers) -> None:
    posts = Posts()
    posts.sink.accept(
        envelopes(
            status("Loaded"),
            status("Slow", level="warning", run=task_run(), timestamp=NOW + SECOND // 4),
        )
    )
    assert handlers.shown == [
        "22:13:20.000 | INFO    | Flow run 'wise-owl' - Loaded",
        "22:13:20.250 | WARNING | Task run 'score-0' - Slow",
    ]


def test_without_the_console_nothing_is_shown(handlers: Handlers) -> None:
    posts = Posts(console=False)
    posts.say("a")
    posts.sink.flush()
    assert (posts.messages, handlers.shown) == ([["a"]], [])


def test_on_a_terminal_prefects_handler_shows_the_lines(handlers: Handlers) -> None:
    handlers.console.console = Console(file=handlers.stream, force_terminal=True)
    Posts().say("Loaded")
    assert len(handlers.shown) == 1
    assert "Loaded" in handlers.shown[0]


def test_a_handler_gets_whole_records(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _add_handler(monkeypatch)
    Posts().say("Scored bert", run=task_run())
    (record,) = seen
    assert {
        name: getattr(record, name)
        for name in ("name", "levelno", "msg", "created", "msecs", "flow_run_id", "flow_name")
    } == {
        "name": "prefect.task_runs",
        "levelno": 20,
        "msg": "Scored bert",
        "created": NOW / 1e9,
        "msecs": 0,
        "flow_run_id": FLOW_RUN_ID,
        "flow_name": "train",
    }
    assert (record.task_run_id, record.task_name, record.task_run_name) == (
        TASK_RUN_ID,
        "score",
        "score-0",
    )


def _add_handler(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give the loggers of runs one more handler; what it handles."""
    seen: list[Any] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    keeping = Keeping()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, keeping])
    return seen


def test_our_lines_are_marked_so_that_they_are_not_taken_back_in(handlers: Handlers) -> None:
    record = make_record("prefect.flow_runs", status("a"), flow_run(name="", flow_name=""))
    extra = {
        name: value
        for name, value in vars(record).items()
        if name in ("prefect_otel_status", "flow_name", "flow_run_name", "deployment_name")
    }
    assert extra == {
        "prefect_otel_status": True,
        "flow_name": "<unknown>",
        "flow_run_name": "",
        "deployment_name": None,
    }


def test_handlers_of_the_loggers_above_show_the_line_too(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = io.StringIO()
    monkeypatch.setattr(logging.getLogger(LOGGERS[0]), "propagate", True)
    monkeypatch.setattr(logging.getLogger("prefect"), "handlers", [handlers.console_on(above)])
    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", False)
    Posts().say("Loaded")
    assert above.getvalue().splitlines() == handlers.shown
    assert len(handlers.shown) == 1


def test_the_level_of_a_handler_is_obeyed(handlers: Handlers) -> None:
    handlers.console.setLevel(logging.ERROR)
    posts = Posts()
    posts.say("a")
    posts.say("b", level="error")
    assert handlers.shown == ["22:13:20.000 | ERROR   | Flow run 'wise-owl' - b"]


def test_a_filter_of_a_handler_is_obeyed(handlers: Handlers) -> None:
    handlers.console.addFilter(lambda record: "private" not in record.getMessage())
    Posts().say("private", "public")
    assert handlers.shown == ["22:13:20.000 | INFO    | Flow run 'wise-owl' - public"]


def test_a_console_that_cannot_encode_one_line_shows_the_others(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    narrow = handlers.console_on(io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(logging.getLogger(LOGGERS[0]), "handlers", [narrow, handlers.console])
    Posts().say("before", "größer 🙂", "after")
    narrow.flush()
    shown = raw.getvalue().decode("ascii")
    assert ("before" in shown, "after" in shown) == (True, True)
    assert len(handlers.shown) == 3


# --- sending -------------------------------------------------------------------


class Api(HTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.posted: list[tuple[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"


class Answer(BaseHTTPRequestHandler):
    """Takes every post; knows of no CSRF tokens."""

    server: Api

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, json.loads(body)))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def test_lines_are_posted_to_prefects_api(api: Api) -> None:
    lines = [to_line("prefect.flow_runs", status("Scored bert"), flow_run())] * 2
    with temporary_settings({PREFECT_API_URL: api.address, PREFECT_LOGGING_TO_API_ENABLED: True}):
        send_lines(lines)
    assert api.posted == [("/api/logs/", [LINE, LINE])]


def test_where_the_settings_keep_logs_away_from_the_api_none_is_posted(api: Api) -> None:
    lines = [to_line("prefect.flow_runs", status("a"), flow_run())]
    with temporary_settings({PREFECT_API_URL: api.address, PREFECT_LOGGING_TO_API_ENABLED: False}):
        send_lines(lines)
    assert api.posted == []
