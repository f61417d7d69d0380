"""`Place`: where a piece of code stands; and `parts`, where the pieces of a piece stand.

What is under a condition inside a loop is not run in each round, and what a
loop that waits says is not too much.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import singledispatch
from typing import NamedTuple

from prefect_otel_status.lint.loops import is_guard, leaves, waits
from prefect_otel_status.lint.names import names_in, parameters_of
from prefect_otel_status.lint.scope import Scope


class Place(NamedTuple):
    """The scope of a piece of code, and whether each round of a loop runs it."""

    scope: Scope
    is_repeated: bool = False

    def once(self) -> Place:
        """The same place, but not in each round."""
        return self._replace(is_repeated=False)

    def each_round(self) -> Place:
        """The same place, inside a loop."""
        return self._replace(is_repeated=True)

    def inside(self, nodes: Iterable[ast.AST], *, is_class: bool = False) -> Place:
        """A place in the scope that NODES make, and in none of the loops around."""
        return Place(self.scope.inner(names_in(nodes), is_class=is_class))


Part = tuple[ast.AST, Place]


@singledispatch
def parts(node: ast.AST, place: Place) -> Iterator[Part]:
    """The nodes directly below NODE, which stands at PLACE, each with its own place."""
    return _at(place, *(value for _, value in ast.iter_fields(node)))


def _at(place: Place, *fields: object) -> Iterator[Part]:
    for field in fields:
        if isinstance(field, ast.AST):
            yield field, place
        elif isinstance(field, list):
            yield from _block(place, field)


def _block(place: Place, nodes: list[object]) -> Iterator[Part]:
    # A block that ends by leaving the loop runs once, and what stands
    # behind `if ...: continue` is under a condition too.
    place = place.once() if leaves(nodes) else place
    for node in nodes:
        yield from _at(place, node)
        place = place.once() if is_guard(node) else place


@parts.register(ast.Module)
def _module(node: ast.Module, place: Place) -> Iterator[Part]:
    return _at(place.inside(node.body), node.body)


@parts.register(ast.FunctionDef)
@parts.register(ast.AsyncFunctionDef)
def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, place: Place) -> Iterator[Part]:
    yield from _at(place, node.decorator_list, node.args, node.returns)
    yield from _at(place.inside([*parameters_of(node.args), *node.body]), node.body)


@parts.register(ast.Lambda)
def _lambda(node: ast.Lambda, place: Place) -> Iterator[Part]:
    yield from _at(place, node.args)
    yield from _at(place.inside([*parameters_of(node.args), node.body]), node.body)


@parts.register(ast.ClassDef)
def _class(node: ast.ClassDef, place: Place) -> Iterator[Part]:
    yield from _at(place, node.decorator_list, node.bases, node.keywords)
    yield from _at(place.inside(node.body, is_class=True), node.body)


@parts.register(ast.For)
@parts.register(ast.AsyncFor)
def _for(node: ast.For | ast.AsyncFor, place: Place) -> Iterator[Part]:
    yield from _at(place, node.target, node.iter, node.orelse)
    yield from _at(place.each_round(), node.body)


@parts.register(ast.While)
def _while(node: ast.While, place: Place) -> Iterator[Part]:
    yield from _at(place, node.test, node.orelse)
    yield from _at(place.once() if waits(node) else place.each_round(), node.body)


@parts.register(ast.ListComp)
@parts.register(ast.SetComp)
@parts.register(ast.GeneratorExp)
def _list(node: ast.ListComp | ast.SetComp | ast.GeneratorExp, place: Place) -> Iterator[Part]:
    return _comprehension(place, node.generators, node.elt)


@parts.register(ast.DictComp)
def _dict(node: ast.DictComp, place: Place) -> Iterator[Part]:
    return _comprehension(place, node.generators, node.key, node.value)


def _comprehension(place: Place, loops: list[ast.comprehension], *made: ast.expr) -> Iterator[Part]:
    # Only the first iterable belongs to the scope around it.
    yield from _at(place, loops[0].iter)
    inside = place.inside(loop.target for loop in loops)
    iterables = [loop.iter for loop in loops[1:]]
    conditions = [condition for loop in loops for condition in loop.ifs]
    yield from _at(inside.each_round(), iterables, conditions)
    yield from _at(inside if conditions else inside.each_round(), *made)


@parts.register(ast.If)
@parts.register(ast.IfExp)
def _if(node: ast.If | ast.IfExp, place: Place) -> Iterator[Part]:
    yield from _at(place, node.test)
    yield from _at(place.once(), node.body, node.orelse)


@parts.register(ast.BoolOp)
def _and_or(node: ast.BoolOp, place: Place) -> Iterator[Part]:
    yield from _at(place, node.values[0])
    yield from _at(place.once(), node.values[1:])


@parts.register(ast.ExceptHandler)
@parts.register(ast.match_case)
def _case(node: ast.ExceptHandler | ast.match_case, place: Place) -> Iterator[Part]:
    return _at(place.once(), *(value for _, value in ast.iter_fields(node)))
