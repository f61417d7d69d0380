"""Which names a scope binds, and whether they stand for something of ours."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable

from prefect_otel_status.lint.functions import FUNCTIONS, PACKAGE
from prefect_otel_status.lint.nodes import COMPREHENSIONS, walk

Target = str | None
"""What a name stands for: the dotted name of something of ours, or nothing of ours."""

_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError"})
# What these hold, their defaults and annotations included, is not looked into.
_CLOSED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.arg)
_FIELD_OF_NAME: dict[type[ast.AST], str] = {
    ast.FunctionDef: "name",
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
    ast.ExceptHandler: "name",
    ast.MatchAs: "name",
    ast.MatchStar: "name",
    ast.MatchMapping: "rest",
    ast.arg: "arg",
}


def names_in(nodes: Iterable[ast.AST]) -> dict[str, Target]:
    """What NODES bind, without what the scopes inside them bind.

    A name that is bound to something else as well stands for None. What
    `global` and `nonlocal` leave to the scopes around is not among them.
    """
    own = [*walk(nodes, _own_parts)]
    targets: dict[str, set[Target]] = defaultdict(set)
    for name, target in (binding for node in own for binding in _bindings(node)):
        targets[name].add(target)
    for node in own:
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            _forget(targets, node.names)
    return {name: found.pop() if len(found) == 1 else None for name, found in targets.items()}


def parameters_of(arguments: ast.arguments) -> list[ast.arg]:
    """The parameters in ARGUMENTS, without their defaults."""
    return [node for node in ast.iter_child_nodes(arguments) if isinstance(node, ast.arg)]


def _forget(targets: dict[str, set[Target]], names: list[str]) -> None:
    for name in names:
        targets.pop(name, None)


def _own_parts(node: ast.AST) -> Iterable[ast.AST]:
    if isinstance(node, _CLOSED):
        return ()
    if isinstance(node, COMPREHENSIONS):
        # Its names are its own, but for those before a `:=`.
        return (part.target for part in ast.walk(node) if isinstance(part, ast.NamedExpr))
    return (part for part in ast.iter_child_nodes(node) if not _stands_in(part))


def _stands_in(node: ast.AST) -> bool:
    """Whether NODE is what replaces us where we are not installed, which does not count."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(isinstance(kind, ast.Name) and kind.id in _IMPORT_ERRORS for kind in kinds)


def _bindings(node: ast.AST) -> Iterable[tuple[str, Target]]:
    if isinstance(node, ast.Import):
        return map(_import, node.names)
    if isinstance(node, ast.ImportFrom):
        return _import_from(node)
    name = _name_of(node)
    return () if name is None else ((name, None),)


def _name_of(node: ast.AST) -> str | None:
    """The name that NODE binds to something that is not ours."""
    if isinstance(node, ast.Name):
        return None if isinstance(node.ctx, ast.Load) else node.id
    field = _FIELD_OF_NAME.get(type(node))
    return None if field is None else getattr(node, field)


def _import(alias: ast.alias) -> tuple[str, Target]:
    top = alias.name.partition(".")[0]
    target = alias.name if alias.asname else top
    return alias.asname or top, target if top == PACKAGE else None


def _import_from(node: ast.ImportFrom) -> list[tuple[str, Target]]:
    module = "" if node.level else node.module or ""
    if module.partition(".")[0] != PACKAGE:
        return [(alias.asname or alias.name, None) for alias in node.names]
    if node.names[0].name == "*":
        names = [function.name for function in FUNCTIONS if module in function.modules]
        return [(name, f"{module}.{name}") for name in names]
    return [(alias.asname or alias.name, f"{module}.{alias.name}") for alias in node.names]
