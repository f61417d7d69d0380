"""Wrappers around the methods of others, of which ours can be told from theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt

Wrapper = Callable[[Callable[..., Any], Any, Any, Any], Any]


class OurWrapper(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # generic for mypy only
    """A wrapper of ours; another library's may be below or above it."""


def wrap(owner: type, name: str, wrapper: Wrapper) -> None:
    """Put WRAPPER around the method NAME of OWNER, once."""
    home = _home(owner, name)
    if not _is_wrapped(home.__dict__[name]):
        wrapt.wrap_object(home, name, OurWrapper, (wrapper,))


def unwrap(owner: type, name: str) -> None:
    """Take our wrapper around the method NAME of OWNER off, unless another is on top of it."""
    home = _home(owner, name)
    current = home.__dict__[name]
    if isinstance(current, OurWrapper):
        setattr(home, name, current.__wrapped__)


def _is_wrapped(function: Any) -> bool:
    """Whether a wrapper of ours is anywhere around FUNCTION."""
    while function is not None:
        if isinstance(function, OurWrapper):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def _home(owner: type, name: str) -> type:
    """The class that OWNER has NAME from."""
    return next(base for base in owner.__mro__ if name in base.__dict__)
