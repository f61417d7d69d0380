"""SDK providers: made from the standard variables, never in the place of one that is set.

What becomes global stays so in a process, so those cases run in processes of
their own, and print what they found as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import _logs, metrics, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from prefect_otel_status import providers as providers_module
from prefect_otel_status.providers import (
    Plan,
    Providers,
    provide,
    renew_meter,
    run_all,
    warn_of_propagators,
)
from prefect_otel_status.settings import ConfigurationError, Settings
from prefect_otel_status.tally import Tally

PRELUDE = """
import json, os
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from prefect_otel_status.providers import Plan, provide, run_all
from prefect_otel_status.settings import ConfigurationError, Settings
from prefect_otel_status.tally import Tally

def in_place():
    found = trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()
    return [type(provider).__name__ for provider in found]

def tell(**found):
    print(json.dumps(found), flush=True)
    raise SystemExit
"""
OURS = ["TracerProvider", "MeterProvider", "LoggerProvider"]
PROXIES = ["ProxyTracerProvider", "_ProxyMeterProvider", "ProxyLoggerProvider"]


def in_process(script: str, **environ: str) -> Any:
    """What SCRIPT tells, in a process of its own with ENVIRON and no other `OTEL_*` variable."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PREFECT_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(script)],
        env={**inherited, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# --- what is made and what is kept ---------------------------------------------


def test_without_any_new_ones_become_global_and_write_to_the_folder(tmp_path: Path) -> None:
    script = """
        from prefect_otel_status.idgen import planned_trace_id
        tally = Tally()
        made = provide(Settings(environment="prod"), tally)
        with planned_trace_id(0xabc):
            made.tracer.get_tracer("test").start_span("RUN train").end()
        made.meter.get_meter("test").create_counter("count").add(1)
        made.logger.get_logger("test").emit(_logs.LogRecord(body="words"))
        done = run_all([provider.shutdown for provider in made.owned], 20)
        tell(
            in_place=in_place(),
            owned=[type(provider).__name__ for provider in made.owned],
            are_global=[
                made.tracer is trace.get_tracer_provider(),
                made.meter is metrics.get_meter_provider(),
                made.logger is _logs.get_logger_provider(),
            ],
            done=done,
            tally=len(tally.read()),
        )
    """
    found = in_process(script, PREFECT_OTEL_STATUS_FOLDER=str(tmp_path))
    assert found == {
        "in_place": OURS,
        "owned": OURS,
        "are_global": [True, True, True],
        "done": True,
        "tally": 0,
    }
    span = _only_line(tmp_path / "traces.jsonl")["resourceSpans"][0]
    metric = _only_line(tmp_path / "metrics.jsonl")["resourceMetrics"][0]
    record = _only_line(tmp_path / "logs.jsonl")["resourceLogs"][0]
    assert span["scopeSpans"][0]["spans"][0]["traceId"] == "0" * 29 + "abc"
    assert metric["scopeMetrics"][0]["metrics"][0]["name"] == "count"
    assert record["scopeLogs"][0]["logRecords"][0]["body"] == {"stringValue": "words"}
    for sent in (span, metric, record):
        named = {item["key"]: item["value"] for item in sent["resource"]["attributes"]}
        assert named["service.name"] == {"stringValue": "prefect-flows"}
        assert named["deployment.environment.name"] == {"stringValue": "prod"}


def _only_line(path: Path) -> Any:
    (line,) = path.read_text().splitlines()
    return json.loads(line)


def test_global_providers_are_used_and_none_is_replaced(tmp_path: Path) -> None:
    script = """
        mine = (
            TracerProvider(shutdown_on_exit=False),
            MeterProvider(shutdown_on_exit=False),
            LoggerProvider(shutdown_on_exit=False),
        )
        trace.set_tracer_provider(mine[0])
        metrics.set_meter_provider(mine[1])
        _logs.set_logger_provider(mine[2])
        found = provide(Settings(), Tally())
        tell(
            used=[found.tracer is mine[0], found.meter is mine[1], found.logger is mine[2]],
            kept=[
                trace.get_tracer_provider() is mine[0],
                metrics.get_meter_provider() is mine[1],
                _logs.get_logger_provider() is mine[2],
            ],
            owned=len(found.owned),
        )
    """
    found = in_process(script, PREFECT_OTEL_STATUS_FOLDER=str(tmp_path))
    assert found == {"used": [True] * 3, "kept": [True] * 3, "owned": 0}
    assert list(tmp_path.iterdir()) == []


def test_beside_a_global_tracer_only_the_others_are_made(tmp_path: Path) -> None:
    script = """
        mine = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(mine)
        found = provide(Settings(), Tally())
        tell(
            used=found.tracer is mine,
            in_place=in_place(),
            owned=[type(provider).__name__ for provider in found.owned],
        )
    """
    found = in_process(script, PREFECT_OTEL_STATUS_FOLDER=str(tmp_path))
    assert found == {"used": True, "in_place": OURS, "owned": OURS[1:]}


@pytest.mark.parametrize("value", ["true", " True "])
def test_a_disabled_sdk_makes_none(value: str, tmp_path: Path) -> None:
    script = """
        found = provide(Settings(), Tally())
        span = found.tracer.get_tracer("test").start_span("RUN train")
        tell(in_place=in_place(), owned=len(found.owned), recording=span.is_recording())
    """
    found = in_process(script, OTEL_SDK_DISABLED=value, PREFECT_OTEL_STATUS_FOLDER=str(tmp_path))
    assert found == {"in_place": PROXIES, "owned": 0, "recording": False}
    assert list(tmp_path.iterdir()) == []


def test_given_providers_stand_over_all_others() -> None:
    tracer, meter, logger = object(), object(), object()
    found = provide(
        Settings(), Tally(), tracer_provider=tracer, meter_provider=meter, logger_provider=logger
    )
    assert (found.tracer, found.meter, found.logger, found.owned) == (tracer, meter, logger, ())


def test_the_standard_variables_are_followed() -> None:
    script = """
        found = provide(Settings(), Tally())
        (spans,) = found.tracer._active_span_processor._span_processors
        tell(
            delay=spans._batch_processor._schedule_delay,
            readers=len(found.meter._metric_readers),
            loggers=len(found.logger._multi_log_record_processor._log_record_processors),
        )
    """
    found = in_process(
        script,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="otlp,console",
        OTEL_BSP_SCHEDULE_DELAY="250",
    )
    assert found == {"delay": 0.25, "readers": 0, "loggers": 2}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_METRICS_EXPORTER", "jaeger"),
        ("OTEL_LOGS_EXPORTER", "jaeger"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
    ],
)
def test_a_bad_variable_is_named_and_leaves_nothing_half_made(
    variable: str, value: str, tmp_path: Path
) -> None:
    script = """
        words = ""
        try:
            provide(Settings(), Tally())
        except ConfigurationError as error:
            words = str(error)
        except ValueError as error:
            words = f"not a ConfigurationError: {error}"
        tell(words=words[:60], in_place=in_place())
    """
    environ = {variable: value, "PREFECT_OTEL_STATUS_FOLDER": str(tmp_path)}
    found = in_process(script, **environ)
    assert found["words"].startswith(f"Bad setting: {variable}: ")
    assert found["in_place"] == PROXIES


# --- the resource --------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "service"),
    [
        ({}, "prefect-flows"),
        ({"PREFECT__DEPLOYMENT_NAME": "nightly"}, "nightly"),
        ({"PREFECT__DEPLOYMENT_NAME": ""}, "prefect-flows"),
        ({"OTEL_SERVICE_NAME": "mine", "PREFECT__DEPLOYMENT_NAME": "nightly"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b"}, "prefect-flows"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "k8s.service.name=pods"}, "prefect-flows"),
        ({"OTEL_SERVICE_NAME": ""}, "prefect-flows"),
    ],
)
def test_the_service_is_named_by_the_variables_or_the_deployment(
    environ: dict[str, str], service: str, tmp_path: Path
) -> None:
    script = """
        found = provide(Settings(), Tally()).tracer.resource.attributes
        tell(service=found["service.name"], bound="deployment.environment.name" in found)
    """
    found = in_process(script, PREFECT_OTEL_STATUS_FOLDER=str(tmp_path), **environ)
    assert found == {"service": service, "bound": False}


# --- propagators ---------------------------------------------------------------


@pytest.fixture
def textmap() -> Iterator[None]:
    before = propagate.get_global_textmap()
    yield
    propagate.set_global_textmap(before)


@pytest.mark.usefixtures("textmap")
def test_propagators_without_trace_context_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    propagate.set_global_textmap(CompositePropagator([W3CBaggagePropagator()]))
    assert warn_of_propagators() is True
    assert caplog.record_tuples == [
        (
            "prefect_otel_status",
            logging.WARNING,
            "The OpenTelemetry propagators lack W3C trace context, so Prefect cannot hand its "
            "spans on and every task run becomes a trace of its own. "
            "Add tracecontext to OTEL_PROPAGATORS.",
        )
    ]


@pytest.mark.usefixtures("textmap")
def test_propagators_with_trace_context_are_fine(caplog: pytest.LogCaptureFixture) -> None:
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    assert warn_of_propagators() is False
    assert caplog.record_tuples == []


# --- calls with a bound --------------------------------------------------------


class Hanging:
    """A provider whose shutdown hangs until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.left = threading.Event()

    def shutdown(self) -> None:
        self.gate.wait(10)
        self.left.set()


def test_a_provider_that_hangs_delays_no_longer_than_the_bound_and_no_other() -> None:
    hanging, done = Hanging(), threading.Event()
    began = time.monotonic()
    assert run_all([hanging.shutdown, done.set, hanging.shutdown], 0.1) is False
    assert time.monotonic() - began < 2
    assert done.is_set()
    hanging.gate.set()
    assert hanging.left.wait(10)


def test_a_provider_that_raises_is_logged_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise ValueError("no")

    done = threading.Event()
    with caplog.at_level(logging.DEBUG, "prefect_otel_status"):
        assert run_all([refuse, done.set], 10) is True
    assert done.is_set()
    assert caplog.record_tuples == [
        ("prefect_otel_status", logging.DEBUG, "A provider could not be flushed: no")
    ]


def test_nothing_to_call_is_done_at_once() -> None:
    assert run_all([], 0.0) is True


def test_a_bad_variable_of_opentelemetry_costs_one_signal_only() -> None:
    environ = {"OTEL_METRICS_EXPORTER": "carrier-pigeon", "OTEL_TRACES_EXPORTER": "console"}
    plan = Plan.read(environ, strict=False)
    assert {signal: [c.kind for c in chosen] for signal, chosen in plan.choices.items()} == {
        "traces": ["console"],
        "metrics": [],
        "logs": ["local"],
    }


# --- in this process, with nothing made global --------------------------------


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What would become global, in a process in which nothing is yet."""
    found: list[Any] = []
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_OTEL_STATUS_FOLDER", str(tmp_path))
    monkeypatch.setattr(providers_module, "_is_unset", lambda signal: True)
    monkeypatch.setattr(trace, "set_tracer_provider", found.append)
    monkeypatch.setattr(metrics, "set_meter_provider", found.append)
    monkeypatch.setattr(_logs, "set_logger_provider", found.append)
    return found


def shut_down(*made: Any) -> None:
    """End MADE, whatever it still waits for."""
    assert run_all([provider.shutdown for provider in made], 20)


def test_what_is_made_becomes_global_and_is_ours_to_end(published: list[Any]) -> None:
    made = provide(Settings(environment="prod"), Tally())
    assert published == [made.tracer, made.meter, made.logger] == list(made.owned)
    kinds = [type(provider) for provider in made.owned]
    assert kinds == [TracerProvider, MeterProvider, LoggerProvider]
    resources = [made.tracer.resource, made.logger.resource]
    assert [dict(found.attributes)["deployment.environment.name"] for found in resources] == [
        "prod",
        "prod",
    ]
    shut_down(*made.owned)


def test_what_is_given_is_neither_read_nor_published(
    published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for signal in ("TRACES", "METRICS", "LOGS"):
        monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "jaeger")
    tracer, meter, logger = object(), object(), object()
    given = provide(
        Settings(), Tally(), tracer_provider=tracer, meter_provider=meter, logger_provider=logger
    )
    assert (given.tracer, given.meter, given.logger, given.owned) == (tracer, meter, logger, ())
    assert published == []


def test_unless_it_is_strict_a_bad_variable_costs_its_signal_and_is_said(
    published: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "jaeger")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "soon")
    with pytest.raises(ConfigurationError):
        provide(Settings(), Tally())
    assert published == []
    made = provide(Settings(), Tally(), strict=False)
    assert made.tracer._active_span_processor._span_processors == ()
    said = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert [(words[:43], words.rpartition(". ")[2]) for words in said] == [
        ("Bad setting: OTEL_TRACES_EXPORTER: 'jaeger'", "No traces are sent."),
        ("Bad setting: OTEL_BSP_SCHEDULE_DELAY: 'soon", "The default is used."),
    ]
    shut_down(*made.owned)


def test_a_child_gets_a_meter_of_its_own_that_is_not_global(published: list[Any]) -> None:
    made = provide(Settings(), Tally())
    published.clear()
    renewed = renew_meter(made, Settings(), Tally())
    assert (renewed.tracer, renewed.logger) == (made.tracer, made.logger)
    assert renewed.meter is not made.meter
    assert renewed.owned == (made.tracer, made.logger, renewed.meter)
    assert published == []
    shut_down(*made.owned, renewed.meter)


def test_a_meter_of_others_is_not_renewed() -> None:
    current = Providers(object(), object(), object())
    assert renew_meter(current, Settings(), Tally()) is current


@pytest.mark.parametrize("disabled", [False, True])
def test_what_others_have_set_is_used_and_not_published(
    published: list[Any], monkeypatch: pytest.MonkeyPatch, disabled: bool
) -> None:
    if disabled:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    theirs = object(), object(), object()
    monkeypatch.setattr(providers_module, "_is_unset", lambda signal: disabled)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: theirs[0])
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: theirs[1])
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: theirs[2])
    found = provide(Settings(), Tally())
    assert (found.tracer, found.meter, found.logger, found.owned) == (*theirs, ())
    assert published == []


class ProxyMeterProvider:
    """Another library's, which only sounds like a placeholder; Logfire's are called so."""


def test_a_placeholder_is_told_from_a_provider_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {
        "traces": (trace, "get_tracer_provider", trace.ProxyTracerProvider()),
        "metrics": (metrics, "get_meter_provider", metrics._internal._ProxyMeterProvider()),
        "logs": (_logs, "get_logger_provider", _logs._internal.ProxyLoggerProvider()),
    }
    for signal, (module, name, placeholder) in places.items():
        for provider, unset in ((placeholder, True), (ProxyMeterProvider(), False)):
            monkeypatch.setattr(module, name, lambda provider=provider: provider)
            assert providers_module._is_unset(signal) is unset, signal
