"""Lines of Prefect's run loggers: taken in as log records, and as statuses from WARNING up."""

from __future__ import annotations

import logging
import os
from typing import Any
from uuid import UUID

from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.messages import say
from prefect_otel_status.model import LogLine
from prefect_otel_status.runs import RunHandle, Scope
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.signals import HOOK_NAME
from prefect_otel_status.sinks.run_log import OWN_LINE

LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
_ENGINE = "prefect.engine"
"""Says which hooks of a flow run, before the run has a logger of its own."""

_OWN_LINES = (f"Running hook {HOOK_NAME!r}", f"Hook {HOOK_NAME!r}")
_PRINTED = "print_as_log"


class RunLogHandler(logging.Handler):
    """Takes in what the flow's own code logs; Prefect's internal lines are none of it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Queue RECORD as a log record, and as a status from the level in the settings up."""
        runtime = runtime_module.get()
        if runtime.enabled and not is_internal(record):
            runtime.guard("log_line", lambda: take_in(runtime, record))


class HookLineFilter(logging.Filter):
    """Drops Prefect's two lines about each call of our hook: they say nothing and cost a lot."""

    def filter(self, record: logging.LogRecord) -> bool:
        words = record.msg
        if not isinstance(words, str) or not words.startswith(("Running hook", "Hook ")):
            return True
        return not (record.getMessage() if record.args else words).startswith(_OWN_LINES)


def is_internal(record: logging.LogRecord) -> bool:
    """Whether RECORD is a line of Prefect's own, or one that we wrote ourselves."""
    if getattr(record, OWN_LINE, False):
        return True
    return record.pathname.startswith(_prefect_home()) and record.funcName != _PRINTED


def take_in(runtime: Runtime, record: logging.LogRecord) -> None:
    """Queue RECORD under the run that it names."""
    scope = _scope_of(runtime, record)
    words = record.getMessage()
    if runtime.settings.log_lines:
        runtime.put(_line(record, words, scope))
    if record.levelno >= runtime.settings.status_from_level:
        text = record.msg if isinstance(record.msg, str) and record.args else None
        _say(runtime, record, words, text, scope)


def _say(
    runtime: Runtime, record: logging.LogRecord, words: str, text: str | None, scope: Scope | None
) -> None:
    # The unfilled text, with its %s, is the template where there is one.
    say(
        runtime,
        text if text is not None else words,
        {},
        level=_level(record.levelno),
        origin="log",
        scope=scope,
        timestamp=int(record.created * 1e9),
        message=words,
    )


def _scope_of(runtime: Runtime, record: logging.LogRecord) -> Scope | None:
    """The current scope, if it is of the run that RECORD names; else that run's own."""
    scope = runtime.registry.scope()
    named = getattr(record, "task_run_id", None) or getattr(record, "flow_run_id", None)
    handle = scope.handle if scope is not None else None
    if handle is not None and named in (None, handle.run.id):
        return scope
    found = _handle_named(runtime, named)
    return Scope(found, found.span_context, found.buffer) if found is not None else scope


def _handle_named(runtime: Runtime, named: Any) -> RunHandle | None:
    try:
        return runtime.registry.find(UUID(str(named)))
    except ValueError:
        return None


def _line(record: logging.LogRecord, words: str, scope: Scope | None) -> LogLine:
    handle = scope.handle if scope is not None else None
    span = scope.span_context if scope is not None else None
    return LogLine(
        message=words,
        severity=_severity(record.levelno),
        severity_text=record.levelname,
        logger=record.name,
        timestamp=int(record.created * 1e9),
        attributes={"code.function.name": record.funcName, "code.line.number": record.lineno},
        run=handle.run if handle is not None else None,
        trace_id=span.trace_id if span else 0,
        span_id=span.span_id if span else 0,
        sampled=span.trace_flags.sampled if span else False,
    )


def _severity(level: int) -> int:
    return min(24, max(1, {10: 5, 20: 9, 30: 13, 40: 17, 50: 21}.get(level, 1 + level * 2 // 5)))


def _level(number: int) -> str:
    for least, name in ((50, "critical"), (40, "error"), (30, "warning"), (20, "info")):
        if number >= least:
            return name
    return "debug"


def _prefect_home() -> str:
    import prefect

    return os.path.dirname(prefect.__file__) + os.sep


_handler: RunLogHandler | None = None
_filter = HookLineFilter()


def install() -> None:
    """Take in the run loggers' lines from now on. Safe to repeat."""
    global _handler
    if _handler is None:
        _handler = RunLogHandler()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if _handler not in logger.handlers:
            logger.addHandler(_handler)
    for name in (*LOGGERS, _ENGINE):
        logging.getLogger(name).addFilter(_filter)


def remove() -> None:
    """Leave the run loggers as they were."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if _handler is not None:
            logger.removeHandler(_handler)
    for name in (*LOGGERS, _ENGINE):
        logging.getLogger(name).removeFilter(_filter)
