"""Stages and levels that are not in the project's vocabulary."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from prefect_otel_status.lint.finding import UNKNOWN_LEVEL, UNKNOWN_STAGE, Problem


def stage_problems(node: ast.expr, allowed: tuple[str, ...]) -> Iterator[Problem]:
    """A finding where NODE is a stage that is not ALLOWED; none allowed allows all."""
    if allowed and isinstance(node, ast.Constant) and node.value not in (None, "", *allowed):
        message = f"stage {node.value!r} is not allowed; {_instead(node.value, allowed)}"
        yield Problem(node, UNKNOWN_STAGE, message)


def level_problems(node: ast.expr, known: tuple[str, ...]) -> Iterator[Problem]:
    """A finding where NODE is a level that is not KNOWN."""
    if isinstance(node, ast.Constant) and node.value not in known:
        message = f"level {node.value!r} is not known; {_instead(node.value, known)}"
        yield Problem(node, UNKNOWN_LEVEL, message)


def _instead(value: object, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(value).lower(), allowed, n=1)
    return f"write {near[0]!r}" if near else f"use one of {', '.join(map(repr, allowed))}"
