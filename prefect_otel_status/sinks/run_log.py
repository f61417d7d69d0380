"""Statuses as lines of Prefect's run log, so that they show in its UI and on the console."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from datetime import datetime, timezone
from typing import Any

from prefect_otel_status.envelope import Envelope
from prefect_otel_status.model import Run, Status

OWN_LINE = "prefect_otel_status"
"""The attribute of a log record that says: this line is ours, do not take it back in."""

SPOKEN = ("status", "gate", "track", "state")
"""Where a status must come from to be written: what came from a log line is there already."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_INTERVAL = 500_000_000
_LINES_AT_ONCE = 500

Line = dict[str, Any]
Post = Callable[[list[Line], Context], None]


class RunLogSink:
    """Writes each status as a line of its run's log.

    Lines for Prefect's UI are sent in batches, at most two a second: Prefect's
    own way costs about as much for each line as everything else together. POST
    is given the lines, as the API takes them, and must not wait.
    """

    name = "run_log"

    def __init__(self, post: Post, *, console: bool = True) -> None:
        self._post = post
        self._console = console
        self._lines: list[Line] = []
        self._context: Context | None = None
        self._due = 0

    def accept(self, batch: Sequence[Envelope]) -> None:
        """Write the statuses of BATCH."""
        shown: list[tuple[logging.Logger, logging.LogRecord]] = []
        for envelope in batch:
            status = envelope.clean()
            if isinstance(status, Status) and status.run and status.origin in SPOKEN:
                logger = logging.getLogger(f"prefect.{status.run.kind}_runs")
                if logger.isEnabledFor(_LEVELS[status.level]) and not logger.disabled:
                    record = make_record(logger.name, status, status.run)
                    if envelope.context is not None and _goes_to_api(logger, record):
                        self._context = envelope.context
                        self._lines.append(to_line(logger.name, status, status.run))
                    shown.append((logger, record))
        if self._console:
            _show(shown)

    def flush(self) -> None:
        """Send every line that is held back."""
        lines, self._lines = self._lines, []
        context, self._context = self._context, None  # it holds the run's parameters
        if context is not None:
            for start in range(0, len(lines), _LINES_AT_ONCE):
                self._post(lines[start : start + _LINES_AT_ONCE], context)

    def after_fork(self) -> None:
        """Forget the parent's lines."""
        self._lines, self._context = [], None

    def tick(self, now: int) -> int | None:
        """Send what is due at NOW."""
        if not self._lines:
            return None
        if now >= self._due:
            self.flush()
            self._due = now + _INTERVAL
            return None
        return self._due


def to_line(logger: str, status: Status, run: Run) -> Line:
    """STATUS as Prefect's API takes a line of a run's log."""
    when = datetime.fromtimestamp(status.timestamp / 1e9, timezone.utc)
    line: Line = {
        "name": logger,
        "level": _LEVELS[status.level],
        "message": status.message,
        "timestamp": when.isoformat(),
        "flow_run_id": run.flow_run_id,
    }
    if run.is_task:
        line["task_run_id"] = run.id
    return line


def send_lines(lines: list[Line]) -> None:
    """Send LINES to Prefect's API, unless its settings keep logs away from it. Waits."""
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    if get_current_settings().logging.to_api.enabled:
        with get_client(sync_client=True, httpx_settings={"timeout": 10.0}) as client:
            client.create_logs(lines)


def make_record(logger: str, status: Status, run: Run) -> logging.LogRecord:
    """STATUS as the record that Prefect's own logger would have made of it."""
    level = _LEVELS[status.level]
    record = logging.LogRecord(logger, level, __file__, 0, status.message, None, None, "status")
    record.created = status.timestamp / 1e9
    record.msecs = status.timestamp // 1_000_000 % 1000
    for name, value in _extra(run).items():
        setattr(record, name, value)
    setattr(record, OWN_LINE, True)
    return record


def _extra(run: Run) -> dict[str, Any]:
    extra: dict[str, Any] = {
        "flow_run_id": run.flow_run_id,
        "flow_name": run.flow_name or "<unknown>",
        "flow_run_name": "<unknown>" if run.is_task else run.name,
        "deployment_name": None,
    }
    if run.is_task:
        extra.update(task_run_id=run.id, task_name=run.task_name, task_run_name=run.name)
    return extra


def _is_api(handler: logging.Handler) -> bool:
    from prefect.logging.handlers import APILogHandler

    return isinstance(handler, APILogHandler)


def _takes(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Whether HANDLER would show RECORD, by its level and its filters."""
    return record.levelno >= handler.level and bool(handler.filter(record))


def _goes_to_api(logger: logging.Logger, record: logging.LogRecord) -> bool:
    return any(_is_api(handler) and _takes(handler, record) for handler in logger.handlers)


def _show(shown: Sequence[tuple[logging.Logger, logging.LogRecord]]) -> None:
    plain: dict[Any, list[str]] = {}
    for logger, record in shown:
        for handler in _handlers(logger):
            if not _is_api(handler) and _takes(handler, record):
                _show_one(handler, record, plain)
    for stream, lines in plain.items():
        _write(stream, "".join(lines))


def _show_one(handler: Any, record: logging.LogRecord, plain: dict[Any, list[str]]) -> None:
    from prefect.logging.handlers import PrefectConsoleHandler

    if isinstance(handler, PrefectConsoleHandler) and not handler.console.is_terminal:
        # Without a terminal there is nothing to colour, which is what costs.
        plain.setdefault(handler.console.file, []).append(handler.format(record) + "\n")
    else:
        handler.handle(record)


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None
