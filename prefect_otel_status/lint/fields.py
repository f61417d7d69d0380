"""Fields of a template that nothing fills, so that they stay as they are written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from prefect_otel_status import templates
from prefect_otel_status.lint.calls import Call
from prefect_otel_status.lint.finding import UNFILLED_FIELD, Problem

_NO_FIELDS = (
    "the template has braces but no named field, and stays as written; "
    "write '{field}', or double the braces"
)


def field_problems(call: Call, node: ast.expr, template: str) -> Iterator[Problem]:
    """A finding at NODE for each field of TEMPLATE that CALL leaves as it is written."""
    if templates.parse(template).broken:
        yield Problem(node, UNFILLED_FIELD, _NO_FIELDS)
    if None in call.keywords:
        return
    for field in dict.fromkeys(_fields(template)):
        if (why := _why_unfilled(call, field.name)) is not None:
            yield Problem(node, UNFILLED_FIELD, f"field {field.written!r} {why}")


def _fields(template: str) -> Iterator[templates.Field]:
    """The fields of TEMPLATE, and those in their format specifications."""
    for part in templates.parse(template).parts:
        if isinstance(part, templates.Field):
            yield part
            yield from _fields(part.spec)


def _why_unfilled(call: Call, field: str) -> str | None:
    name = re.split(r"[.\[]", field, maxsplit=1)[0]
    if not name.isidentifier():
        return "has no name and stays as written; write '{name}' and pass name=..."
    if "._" in field:
        return "reads a private attribute and stays as written; pass that value under its own name"
    return None if _is_filled(call, name) else _how_to_fill(call, name)


def _is_filled(call: Call, name: str) -> bool:
    function = call.function
    return name in function.filled or name in call.keywords - function.options


def _how_to_fill(call: Call, name: str) -> str:
    if name in call.function.options:
        return f"stays as written, for {name}= is an option; pass the value under another name too"
    return f"stays as written; pass {name}=..., or double the braces if they are text"
