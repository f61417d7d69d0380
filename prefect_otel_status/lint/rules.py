"""`Rules`: what a project allows."""

from __future__ import annotations

from typing import NamedTuple


class Rules(NamedTuple):
    """The allowed stages (none allows all) and levels, and how long a template may be."""

    stages: tuple[str, ...]
    levels: tuple[str, ...]
    message_length: int
