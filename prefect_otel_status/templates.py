"""Fill a status template, and find the template of a text that was already filled.

`"Scored {model}: {accuracy:.1%}"` is filled from the attributes. A text without
fields (an f-string, say) gets a template by its fingerprint, so that it does
not make one time series per message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from string import Formatter
from typing import Any, NamedTuple

MISSING_FIELD = "missing_field"
FAILED_FIELD = "failed_field"
BAD_TEMPLATE = "bad_template"

_FORMATTER = Formatter()

_FINGERPRINT = re.compile(
    r"(?P<uuid>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)"
    r"|(?P<path>(?:\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}:/)?(?<![\w.])~?/[^\s\"'<>|]{2,}|\b[A-Za-z]:\\[^\s\"']+)"
    r"|(?P<hex>\b0[xX][0-9a-fA-F]+\b|\b(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{7,}\b)"
    r"|(?P<num>[-+]?\d+(?:[.,:]\d+)*(?:[eE][-+]?\d+)?)"
)


class Field(NamedTuple):
    """One replacement field of a template, and how it was written."""

    name: str
    conversion: str | None
    spec: str
    written: str


class Template(NamedTuple):
    """A parsed template. `plain` is true where `str.format_map` alone is safe."""

    parts: tuple[str | Field, ...]
    has_fields: bool
    plain: bool
    broken: bool


class Filled(NamedTuple):
    """A filled template: its low-cardinality name, its text, what was odd."""

    template: str
    message: str
    flags: tuple[str, ...]


def fill(template: str, attributes: Mapping[str, Any]) -> Filled:
    """Fill TEMPLATE from ATTRIBUTES. Never raises.

    A missing or failing field stays as it is written and is flagged. A text
    without fields, or with unbalanced braces, is its own message, and its
    template is its fingerprint.
    """
    parsed = parse(template)
    if parsed.plain:
        try:
            return Filled(template, template.format_map(attributes), ())
        except Exception:
            return _fill_slowly(template, parsed, attributes)
    if parsed.has_fields:
        return _fill_slowly(template, parsed, attributes)
    flags = (BAD_TEMPLATE,) if parsed.broken else ()
    return Filled(fingerprint(template), _unescape(template, parsed), flags)


@lru_cache(maxsize=1024)
def parse(template: str) -> Template:
    """Take TEMPLATE apart, once. Unbalanced braces give a template without fields."""
    try:
        parts = tuple(_parts(template))
    except ValueError:
        return Template((template,), has_fields=False, plain=False, broken=True)
    fields = [part for part in parts if isinstance(part, Field)]
    if fields and not any(_is_named(field) for field in fields):
        # Braces that hold no name are data, JSON in an f-string for example.
        return Template((template,), has_fields=False, plain=False, broken=True)
    plain = bool(fields) and all(_is_plain(field) for field in fields)
    return Template(parts, has_fields=bool(fields), plain=plain, broken=False)


def _parts(template: str) -> list[str | Field]:
    parts: list[str | Field] = []
    for literal, name, spec, conversion in _FORMATTER.parse(template):
        if literal:
            parts.append(literal)
        if name is not None:
            parts.append(Field(name, conversion, spec or "", _written(name, spec, conversion)))
    return parts


def _written(name: str, spec: str | None, conversion: str | None) -> str:
    return (
        "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
    )


def _is_named(field: Field) -> bool:
    return re.match(r"[^\W\d]\w*(?:$|[.\[])", field.name) is not None


def _is_plain(field: Field) -> bool:
    # Attribute look-ups could run code or reach into private state, and nested
    # fields in a spec could fail half-way: those are filled one by one.
    return field.name.isidentifier() and "{" not in field.spec


def _fill_slowly(template: str, parsed: Template, attributes: Mapping[str, Any]) -> Filled:
    pieces: list[str] = []
    flags: list[str] = []
    for part in parsed.parts:
        text, flag = (part, None) if isinstance(part, str) else _fill_field(part, attributes)
        pieces.append(text)
        if flag and flag not in flags:
            flags.append(flag)
    return Filled(template, "".join(pieces), tuple(flags))


def _fill_field(field: Field, attributes: Mapping[str, Any]) -> tuple[str, str | None]:
    try:
        value = _look_up(field.name, attributes)
    except Exception:
        return field.written, MISSING_FIELD
    try:
        spec = _fill_spec(field.spec, attributes)
        return format(_FORMATTER.convert_field(value, field.conversion), spec), None
    except Exception:
        return field.written, FAILED_FIELD


def _fill_spec(spec: str, attributes: Mapping[str, Any]) -> str:
    if "{" not in spec:
        return spec
    parts = _FORMATTER.parse(spec)
    return "".join(
        literal + ("" if name is None else str(_look_up(name, attributes)))
        for literal, name, _, _ in parts
    )


def _look_up(name: str, attributes: Mapping[str, Any]) -> Any:
    if "._" in name or not name or name[0].isdigit():
        raise KeyError(name)
    value, _ = _FORMATTER.get_field(name, (), attributes)
    return value


def _unescape(template: str, parsed: Template) -> str:
    return "".join(str(part) for part in parsed.parts) if "{" in template else template


@lru_cache(maxsize=1024)
def fingerprint(text: str) -> str:
    """TEXT with its numbers, hex strings, UUIDs and paths replaced by `<num>`, `<hex>`, ..."""
    return _FINGERPRINT.sub(lambda match: f"<{match.lastgroup}>", text)
