"""Templates that are built from values, so that each value makes a new one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prefect_otel_status.lint.calls import Call
from prefect_otel_status.lint.expressions import constant_text
from prefect_otel_status.lint.finding import BUILT_TEMPLATE, Problem

_OPERATIONS: dict[type[ast.operator], str] = {
    ast.Add: "a concatenation",
    ast.Mod: "a '%' expression",
}
_METHODS = frozenset({"format", "format_map"})
_FIELDS_INSTEAD = "write '{field}' in the template and pass field=... as a keyword attribute"


def building_problems(call: Call, node: ast.expr) -> Iterator[Problem]:
    """A finding where NODE, the template of CALL, is built; with what to write instead."""
    if (way := _way_of_building(node)) is not None:
        instead = _with_fields(call, node) if isinstance(node, ast.JoinedStr) else None
        message = f"{way} makes a new template of every value; {instead or _FIELDS_INSTEAD}"
        yield Problem(node, BUILT_TEMPLATE, message)


def _way_of_building(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "an f-string"
    if isinstance(node, ast.BinOp):
        return _OPERATIONS.get(type(node.op))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return f"{node.func.attr}()" if node.func.attr in _METHODS else None
    return None


def _with_fields(call: Call, text: ast.JoinedStr) -> str | None:
    """What to write instead of TEXT, or None where its values have no plain names."""
    values = [part for part in text.values if isinstance(part, ast.FormattedValue)]
    pairs = dict.fromkeys((_name_of(value), ast.unparse(value.value)) for value in values)
    names = {name for name, _ in pairs}
    taken = call.keywords | call.function.options | call.function.filled
    if len(names) < len(pairs) or names & taken or None in names | taken:
        return None
    attributes = ", ".join(f"{name}={value}" for name, value in pairs)
    return f"write {''.join(map(_as_template, text.values))!r} and pass {attributes}"


def _name_of(value: ast.FormattedValue) -> str | None:
    """The name that a value of an f-string has already: `model` for `{self.model!r:>8}`."""
    if value.format_spec is not None and constant_text(value.format_spec) is None:
        return None
    if isinstance(value.value, ast.Attribute):
        return value.value.attr
    return value.value.id if isinstance(value.value, ast.Name) else None


def _as_template(part: ast.expr) -> str:
    if not isinstance(part, ast.FormattedValue):
        return (constant_text(part) or "").replace("{", "{{").replace("}", "}}")
    conversion = f"!{chr(part.conversion)}" if part.conversion > 0 else ""
    spec = f":{constant_text(part.format_spec)}" if part.format_spec is not None else ""
    return f"{{{_name_of(part)}{conversion}{spec}}}"
