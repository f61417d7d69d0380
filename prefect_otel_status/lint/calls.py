"""`Call`: a call of one of our functions, and what is handed to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from prefect_otel_status.lint.functions import BY_DOTTED_NAME, STAGE, Function
from prefect_otel_status.lint.place import Place, parts
from prefect_otel_status.lint.scope import Scope


class Call(NamedTuple):
    """A call of FUNCTION, and whether each round of a loop makes it."""

    function: Function
    node: ast.Call
    is_repeated: bool

    @property
    def template(self) -> ast.expr | None:
        """Its template, where it stands in the call."""
        position = self.function.template_at
        return None if position is None else self._argument(position)

    @property
    def stage(self) -> ast.expr | None:
        """Its stage, where it stands in the call."""
        return self._argument(0) if self.function is STAGE else self.option("stage")

    @property
    def keywords(self) -> set[str | None]:
        """The names of its keywords, None for `**values`."""
        return {keyword.arg for keyword in self.node.keywords}

    def option(self, name: str) -> ast.expr | None:
        """The value of its option NAME, where its function has such an option."""
        if name not in self.function.options:
            return None
        return next((each.value for each in self.node.keywords if each.arg == name), None)

    def _argument(self, position: int) -> ast.expr | None:
        first = self.node.args[: position + 1]
        if len(first) <= position or any(isinstance(each, ast.Starred) for each in first):
            return None
        return first[position]


def calls_in(tree: ast.Module) -> Iterator[Call]:
    """The calls of our functions in TREE, outer ones before those inside them."""
    return _calls_at(tree, Place(Scope({})))


def _calls_at(node: ast.AST, place: Place) -> Iterator[Call]:
    if isinstance(node, ast.Call):
        function = BY_DOTTED_NAME.get(place.scope.dotted(node.func) or "")
        if function is not None:
            yield Call(function, node, place.is_repeated)
    for part, its_place in parts(node, place):
        yield from _calls_at(part, its_place)
