"""What an exception says, in the conventions' words and without secrets."""

from __future__ import annotations

import traceback
from collections.abc import Callable

_STACK_LIMIT = 16_384


def type_name(exception: BaseException) -> str:
    """The class of EXCEPTION as the conventions want it: with its module unless built in."""
    kind = type(exception)
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def exception_attributes(exception: BaseException, *, clean: Callable[..., str]) -> dict[str, str]:
    """Message and stack trace of EXCEPTION, made safe by CLEAN, under the conventions' names."""
    try:
        stack = "".join(traceback.format_exception(exception))
    except Exception:
        stack = "(its traceback cannot be shown)"
    return {
        "exception.message": clean(exception),
        "exception.stacktrace": clean(stack, limit=_STACK_LIMIT),
    }
