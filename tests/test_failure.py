"""An exception's words, in the conventions' names and safe."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from prefect_otel_status.failure import exception_attributes, type_name
from tests.support.records import cleaner


class OwnError(Exception):
    """The flow's own."""


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError(), "ValueError"),
        (SystemExit(), "SystemExit"),
        (OwnError(), f"{__name__}.OwnError"),
    ],
)
def test_a_type_has_its_module_unless_it_is_built_in(error: BaseException, name: str) -> None:
    assert type_name(error) == name


def test_message_and_traceback_hold_no_secret() -> None:
    try:
        raise OwnError("password=hunter22")
    except OwnError as error:
        found = exception_attributes(error, clean=cleaner().text)
    assert found["exception.message"] == "password=[redacted]"
    stack = found["exception.stacktrace"]
    assert stack.startswith("Traceback (most recent call last):\n")
    assert f"{__name__}.OwnError: password=[redacted]" in stack
    assert set(found) == {"exception.message", "exception.stacktrace"}


def test_a_traceback_that_cannot_be_shown_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(error: BaseException) -> Any:
        raise RecursionError

    monkeypatch.setattr(traceback, "format_exception", refuse)
    assert exception_attributes(ValueError("words"), clean=cleaner().text) == {
        "exception.message": "words",
        "exception.stacktrace": "(its traceback cannot be shown)",
    }
