"""The four deployments that the demo makes, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """A deployment to make: its version, what goes wrong, that in words, and how it must end."""

    version: str
    fault: str | None
    what: str
    ends: str
    killed: bool = False


PLANS = (
    Plan("v1", None, "a good model", ends="Completed"),
    Plan("v2", "weak", "a model that saw too few images misses its gate", ends="Failed"),
    Plan("v3", "busy", "a canary fails at first and is retried", ends="Completed"),
    Plan("v4", "slow", "a process is killed in its canary", ends="Crashed", killed=True),
)


@dataclass
class Run:
    """A run of a plan.

    `killed_at` is in nanoseconds since 1970; `last_words` is the last status of
    a killed process as the server has it.
    """

    plan: Plan
    id: str
    killed_at: int | None = None
    last_words: dict[str, Any] | None = None
