"""What keeps a loop from running something in each of its rounds."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from prefect_otel_status.lint.nodes import FUNCTIONS, walk

_LEAVES = (ast.Break, ast.Return, ast.Raise)
_WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith)


def leaves(nodes: list[object]) -> bool:
    """Whether the block of NODES ends by leaving the loop."""
    return bool(nodes) and isinstance(nodes[-1], _LEAVES)


def is_guard(node: object) -> bool:
    """Whether NODE is an `if ...: continue`."""
    return isinstance(node, ast.If) and isinstance(node.body[-1], ast.Continue)


def waits(loop: ast.While) -> bool:
    """Whether LOOP itself, not a function inside it, sleeps or awaits something."""
    return any(map(_is_wait, walk([loop.test, *loop.body], _parts_outside_functions)))


def _parts_outside_functions(node: ast.AST) -> Iterable[ast.AST]:
    return () if isinstance(node, FUNCTIONS) else ast.iter_child_nodes(node)


def _is_wait(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return "sleep" in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    return isinstance(node, _WAITS)
