"""`Function`: those of ours whose calls are looked at."""

from __future__ import annotations

from typing import NamedTuple

PACKAGE = "prefect_otel_status"


class Function(NamedTuple):
    """A function of ours, as far as a call of it can be judged.

    OPTIONS are the keywords that are no attributes, FILLED the fields that it
    fills by itself.
    """

    name: str
    home: str
    template_at: int | None = None
    options: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()

    @property
    def modules(self) -> tuple[str, str]:
        """The modules from which it can be imported."""
        return PACKAGE, f"{PACKAGE}.{self.home}"


STATUS = Function(
    "status", "messages", 0, options=frozenset({"event", "stage", "level", "progress"})
)
STAGE = Function("stage", "stages")
TRACK = Function(
    "track",
    "tracking",
    1,
    options=frozenset({"total"}),
    filled=frozenset({"done", "total", "rate", "remaining"}),
)

FUNCTIONS = (STATUS, STAGE, TRACK)
BY_DOTTED_NAME = {
    f"{module}.{function.name}": function for function in FUNCTIONS for module in function.modules
}
