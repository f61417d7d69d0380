"""What a rule is, before it is written down for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning", "info"]
"""`critical` pages somebody, `warning` makes a ticket, `info` is there to be read."""


@dataclass(frozen=True)
class Recording:
    """Records what EXPR gives under the name RECORD."""

    record: str
    expr: str


@dataclass(frozen=True)
class Alert:
    """Fires for each series of EXPR, once it was there for WAIT.

    DASHBOARD is the uid of the one that shows more. Where the alert is
    OF_DEPLOYMENT its labels name one, and its links lead to that one.
    """

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    dashboard: str
    wait: str = "0s"
    of_deployment: bool = True


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together, in order, each INTERVAL (by default Prometheus' own)."""

    name: str
    rules: tuple[Recording | Alert, ...]
    interval: str = ""
