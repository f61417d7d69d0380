"""`Scope`: what a name stands for, from the inside out."""

from __future__ import annotations

import ast
from typing import NamedTuple

from prefect_otel_status.lint.names import Target


class Scope(NamedTuple):
    """The names of a module, class, function or comprehension, and the scope around it."""

    names: dict[str, Target]
    outer: Scope | None = None
    is_class: bool = False

    def find(self, name: str) -> Target:
        """The dotted name of ours that NAME stands for here, or None."""
        if name in self.names:
            return self.names[name]
        return self.outer.find(name) if self.outer is not None else None

    def inner(self, names: dict[str, Target], *, is_class: bool = False) -> Scope:
        """A scope inside this one. The names of a class are not seen from inside it."""
        return Scope(names, self.outer if self.is_class else self, is_class)

    def dotted(self, node: ast.expr) -> Target:
        """The dotted name of ours that `name` or `name.attribute` stands for, or None."""
        if isinstance(node, ast.Attribute) and (owner := self.dotted(node.value)) is not None:
            return f"{owner}.{node.attr}"
        return self.find(node.id) if isinstance(node, ast.Name) else None
