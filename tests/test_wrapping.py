"""Wrappers of ours go on once, come off again, and leave those of others alone."""

from __future__ import annotations

from typing import Any

import pytest
import wrapt

from prefect_otel_status.wrapping import unwrap, wrap


def theirs(wrapped: Any, instance: Any, arguments: Any, named: Any) -> str:
    return f"theirs({wrapped(*arguments, **named)})"


def ours(wrapped: Any, instance: Any, arguments: Any, named: Any) -> str:
    return f"ours({wrapped(*arguments, **named)})"


@pytest.fixture
def owner() -> type[Any]:
    """A class that has its method from another."""

    class Base:
        def method(self) -> str:
            return "plain"

    class Owner(Base):
        """Inherits it."""

    return Owner


def test_a_method_is_wrapped_once_where_it_is_defined(owner: type[Any]) -> None:
    wrap(owner, "method", ours)
    wrap(owner, "method", ours)
    assert owner().method() == "ours(plain)"
    assert "method" not in owner.__dict__
    unwrap(owner, "method")
    unwrap(owner, "method")
    assert owner().method() == "plain"


def test_one_of_anothers_below_stays(owner: type[Any]) -> None:
    wrapt.wrap_function_wrapper(owner.__mro__[1], "method", theirs)
    wrap(owner, "method", ours)
    assert owner().method() == "ours(theirs(plain))"
    unwrap(owner, "method")
    assert owner().method() == "theirs(plain)"


def test_one_of_anothers_above_stays_and_ours_is_not_put_on_twice(owner: type[Any]) -> None:
    wrap(owner, "method", ours)
    wrapt.wrap_function_wrapper(owner.__mro__[1], "method", theirs)
    wrap(owner, "method", ours)
    assert owner().method() == "theirs(ours(plain))"
    unwrap(owner, "method")
    assert owner().method() == "theirs(ours(plain))"
