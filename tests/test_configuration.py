"""`configure` sets this process up, or names what is wrong and leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from prefect import flow
from prometheus_client import CollectorRegistry

from prefect_otel_status import configure, providers, status, uninstrument
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.hooks import FlowHook
from prefect_otel_status.settings import ConfigurationError
from tests.support.metrics import scrape
from tests.support.telling import WAIT, Told


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    before = runtime_module.current()
    yield
    found = runtime_module.current()
    if found is not None and found is not before:
        found.recorder.stop(WAIT)
    uninstrument()
    runtime_module.use(before)


def given(**options: Any) -> dict[str, Any]:
    """Options with providers of their own, so that nothing becomes global."""
    return {
        "tracer_provider": TracerProvider(shutdown_on_exit=False),
        "meter_provider": NoOpMeterProvider(),
        "logger_provider": NoOpLoggerProvider(),
        "prefect_events": False,
        "run_log": False,
        **options,
    }


def test_options_stand_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_OTEL_STATUS_ENVIRONMENT", "staging")
    configure(**given(environment="prod"))
    assert runtime_module.get().settings.environment == "prod"


def test_given_providers_are_used_and_flows_are_told_about() -> None:
    options = given()
    configure(**options)
    providers = runtime_module.get().providers()
    assert (providers.tracer, providers.meter, providers.logger, providers.owned) == (
        options["tracer_provider"],
        options["meter_provider"],
        options["logger_provider"],
        (),
    )

    @flow
    def made() -> None:
        """A flow made now."""

    assert made.on_running_hooks == [FlowHook()]


def test_a_registry_is_counted_in() -> None:
    registry = CollectorRegistry()
    configure(**given(registry=registry))
    status("said")
    assert runtime_module.get().recorder.flush(WAIT)
    assert sum(scrape(registry)["prefect_status_messages"].samples.values()) == 1.0


def test_what_was_said_before_is_passed_on(told: Told) -> None:
    status("before")
    configure(**given())
    assert [record.message for record in told.sink.records] == ["before"]
    assert runtime_module.current() is not told.runtime


def test_where_nothing_was_said_before_there_is_nothing_to_pass_on() -> None:
    runtime_module.use(None)
    configure(**given())
    assert runtime_module.get().settings.run_log is False


def test_disabled_nothing_is_made() -> None:
    configure(enabled=False)
    assert runtime_module.get().enabled is False
    assert runtime_module.get()._providers is None


@pytest.mark.parametrize(
    ("options", "environ", "words"),
    [
        ({"level": "x"}, {}, "PREFECT_OTEL_STATUS_LEVEL: there is no such setting"),
        ({}, {"PREFECT_OTEL_STATUS_TRACE_URL": "x"}, "put {trace_id} where the trace id belongs"),
        (
            {"meter_provider": None},
            {"OTEL_METRICS_EXPORTER": "prometheus_push"},
            "OTEL_METRICS_EXPORTER",
        ),
    ],
)
def test_a_bad_setting_is_named_and_leaves_the_process_as_it_was(
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    environ: dict[str, str],
    words: str,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(providers, "_is_unset", lambda signal: True)  # as in a new process
    with pytest.raises(ConfigurationError) as error:
        configure(**given(**options))
    assert str(error.value).startswith("Bad setting: ")
    assert words in str(error.value)
    assert runtime_module.current() is told.runtime
