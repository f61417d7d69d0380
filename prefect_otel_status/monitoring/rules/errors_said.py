"""How many status messages told of errors, lately and usually."""

from __future__ import annotations

from prefect_otel_status.monitoring.promql import matches
from prefect_otel_status.monitoring.rules.expressions import OF_DEPLOYMENT, increase, sum_by
from prefect_otel_status.monitoring.rules.rule import Group, Recording
from prefect_otel_status.signals import LEVEL, MESSAGES


def errors_said(window: str) -> str:
    """Name of the record: status messages of level `error` or `critical`."""
    return f"deployment:prefect_status_messages_errors:increase{window}"


def said() -> Group:
    """The records of ten minutes and of a day."""
    return Group("prefect-messages", (_record("10m"), _record("1d")), "1m")


def _record(window: str) -> Recording:
    said = increase(MESSAGES, matches(LEVEL, "error|critical"), window=window)
    return Recording(errors_said(window), sum_by(OF_DEPLOYMENT, said))
