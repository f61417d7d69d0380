"""The words of states that ended badly."""

from __future__ import annotations

import pytest

from prefect_otel_status.bridge.records import StateFact
from prefect_otel_status.bridge.words import error_type_of, error_words


def _state(message: str, name: str = "Failed") -> StateFact:
    return StateFact("id", name.upper(), name, 1, message)


@pytest.mark.parametrize(
    ("message", "error_type"),
    [
        ("Flow run encountered an exception: ValueError: not a number", "ValueError"),
        ("Flow run encountered an exception: ValueError", "ValueError"),
        ("Task run encountered an exception ConnectionError: not yet", "ConnectionError"),
        ("Flow run encountered an exception: my_pkg.errors.Oops: x", "my_pkg.errors.Oops"),
        ("Flow run encountered an exception: Oops.", "Oops"),
        ("Flow run encountered an exception: 12 apples", "Failed"),
        ("Flow run encountered an exception: ", "Failed"),
        ("Accuracy 0.42 is too low", "Failed"),
        ("", "Failed"),
        ("It said: Flow run encountered an exception: ValueError: x", "Failed"),
        ("Flow run encountered an exception: " + "A" * 5000, "Failed"),
    ],
)
def test_the_class_of_an_exception_or_the_states_name(message: str, error_type: str) -> None:
    assert error_type_of(_state(message)) == error_type


def test_a_run_that_nobody_ended_lost_its_heartbeat() -> None:
    assert error_type_of(None) == "HeartbeatLost"
    assert error_words(None) == ""


def test_a_state_without_a_message_says_its_name() -> None:
    assert error_words(_state("", "TimedOut")) == "Run ended as TimedOut"
    assert error_words(_state("Too slow")) == "Too slow"
