"""Kinds of nodes that more than one file tells apart, and a walk through some of a tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def walk(
    nodes: Iterable[ast.AST], parts: Callable[[ast.AST], Iterable[ast.AST]]
) -> Iterator[ast.AST]:
    """NODES and all that can be reached from them by PARTS, in no certain order."""
    left = [*nodes]
    while left:
        node = left.pop()
        yield node
        left.extend(parts(node))
