"""Statuses as lines of Prefect's run log, so that they show in its UI and on the console."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prefect_otel_status.envelope import Envelope
from prefect_otel_status.model import Run, Status

OWN_LINE = "prefect_otel_status"
"""The attribute of a log record that says: this line is ours, do not take it back in."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class RunLogSink:
    """Writes each status as a line of its run's log.

    The line goes straight to Prefect's handlers, without the work that
    `get_run_logger()` does for each call; what the handlers do with it is
    theirs. Statuses that came from a log line are not written again.
    """

    name = "run_log"

    def __init__(self, *, console: bool = True) -> None:
        self._console = console

    def accept(self, batch: Sequence[Envelope]) -> None:
        """Write the statuses of BATCH."""
        for envelope in batch:
            status = envelope.clean()
            if isinstance(status, Status) and status.run and status.origin in ("status", "gate", "track"):
                (envelope.context.run if envelope.context else _plainly)(self._write, status)

    def flush(self) -> None:
        """Prefect's handlers flush themselves."""

    def tick(self, now: int) -> int | None:
        """Nothing is ever due."""
        return None

    def _write(self, status: Status) -> None:
        assert status.run is not None
        logger = logging.getLogger(f"prefect.{status.run.kind}_runs")
        level = _LEVELS[status.level]
        if not logger.isEnabledFor(level) or logger.disabled:
            return
        record = make_record(logger.name, level, status)
        for handler in _handlers(logger):
            if level >= handler.level:
                self._hand_over(handler, record)

    def _hand_over(self, handler: logging.Handler, record: logging.LogRecord) -> None:
        from prefect.logging.handlers import APILogHandler, PrefectConsoleHandler

        if isinstance(handler, APILogHandler):
            handler.handle(record)
        elif not self._console:
            return
        elif isinstance(handler, PrefectConsoleHandler) and not handler.console.is_terminal:
            _print_plainly(handler, record)
        else:
            handler.handle(record)


def make_record(logger: str, level: int, status: Status) -> logging.LogRecord:
    """STATUS as the record that Prefect's own logger would have made of it."""
    assert status.run is not None
    record = logging.LogRecord(logger, level, __file__, 0, status.message, None, None, "status")
    record.created = status.timestamp / 1e9
    record.msecs = status.timestamp // 1_000_000 % 1000
    for name, value in _extra(status.run).items():
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


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _print_plainly(handler: Any, record: logging.LogRecord) -> None:
    # Without a terminal there are no colours to find, which is what costs.
    stream = handler.console.file or sys.stderr
    stream.write(handler.format(record) + "\n")
    stream.flush()


def _plainly(call: Callable[[Status], None], status: Status) -> None:
    call(status)
