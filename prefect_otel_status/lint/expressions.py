"""What an expression is worth, as far as it can be told without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator


def choices(node: ast.expr | None) -> Iterator[ast.expr]:
    """NODE, or both sides of it where it is `a if condition else b`."""
    if isinstance(node, ast.IfExp):
        yield from choices(node.body)
        yield from choices(node.orelse)
    elif node is not None:
        yield node


def constant_text(node: ast.expr) -> str | None:
    """The text of NODE where it is the same at every call."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return _joined(map(constant_text, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([constant_text(node.left), constant_text(node.right)])
    return None


def _joined(texts: Iterable[str | None]) -> str | None:
    known = list(texts)
    return None if None in known else "".join(filter(None, known))
