"""A module's text and tree, and the finding where there are none."""

from __future__ import annotations

import ast
import io
import warnings
from importlib.util import decode_source

from prefect_otel_status.lint.finding import NOT_PARSED, Finding

PARSE_ERRORS = (SyntaxError, ValueError, LookupError, RecursionError, MemoryError)
"""What Python raises for a text that is no module, or for one that is too much for it."""


def decode(source: str | bytes) -> str:
    """SOURCE as text, in the encoding that it declares."""
    # Both ways make every newline "\n", as Python counts lines.
    if isinstance(source, bytes):
        return decode_source(source)
    return io.IncrementalNewlineDecoder(None, translate=True).decode(source)


def parse(text: str, path: str) -> ast.Module:
    """The tree of TEXT. Python's warnings about it are not shown."""
    with warnings.catch_warnings():
        # The user's "\d" is between them and Python.
        warnings.simplefilter("ignore")
        return ast.parse(text, path)


def not_parsed(path: str, error: Exception) -> Finding:
    """The finding that ERROR kept the file at PATH from being checked."""
    line, column = _place_of(error)
    message = f"the file {_reason(error)}; correct it, or leave it out of the paths"
    return Finding(path, line, column, NOT_PARSED, message)


def _place_of(error: Exception) -> tuple[int, int]:
    if isinstance(error, SyntaxError):
        return error.lineno or 1, max(1, error.offset or 1)
    if isinstance(error, UnicodeDecodeError):
        return error.object.count(b"\n", 0, error.start) + 1, 1
    return 1, 1


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    if isinstance(error, SyntaxError):
        return f"cannot be parsed: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        return f"cannot be parsed: it is not valid {error.encoding}"
    if isinstance(error, (RecursionError, MemoryError)):
        return "cannot be parsed: it is nested too deeply"
    return f"cannot be parsed: {error}"
