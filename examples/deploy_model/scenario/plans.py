"""The four deployments that the demo makes, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """A run of a plan; of a killed one, when that was and what the server knows of its words.

    `killed_at` is in nanoseconds since 1970.
    """

    plan: Plan
    id: str
    killed_at: int | None = None
    statuses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last_words(self) -> dict[str, Any] | None:
        """The last status that its process sent before it was killed."""
        return next((said for said in reversed(self.statuses) if not self._is_later(said)), None)

    def _is_later(self, said: dict[str, Any]) -> bool:
        return self.killed_at is not None and said["timestamp"] > self.killed_at
