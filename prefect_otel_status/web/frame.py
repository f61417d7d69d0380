"""What is the same around every page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """The head of a page. `trouble` is a banner: what is wrong, and what to do.

    `now` is in nanoseconds since 1970; `server` is Prefect's address, for the eye.
    """

    now: int
    title: str = ""
    trouble: str = ""
    server: str = ""
    reload: int = 15
    """Seconds after which a browser without scripts asks again."""
