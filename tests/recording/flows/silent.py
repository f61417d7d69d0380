"""Stand-ins for our functions that do nothing at all, for the variants without our code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def flow_hooks() -> dict[str, Any]:
    return {}


def task_hooks() -> dict[str, Any]:
    return {}


def status(template: str, **values: Any) -> None:
    pass


def gate(name: str, *, score: float, threshold: float) -> bool:
    return score >= threshold


@contextmanager
def stage(name: str) -> Iterator[None]:
    yield


@contextmanager
def bind(**values: Any) -> Iterator[None]:
    yield
