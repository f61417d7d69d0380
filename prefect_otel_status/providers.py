"""SDK providers from the standard variables; never in the place of one that is already set."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from opentelemetry import _logs, metrics, propagate, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from prefect_otel_status import signals
from prefect_otel_status.choice import Choice, choose, factory
from prefect_otel_status.settings import ConfigurationError, Settings
from prefect_otel_status.tally import Tally

logger = logging.getLogger("prefect_otel_status")

T = TypeVar("T")
SIGNALS = ("traces", "metrics", "logs")

# Short enough to watch a run; a batch's size still bounds the number of requests.
_SPAN_DELAY = 1000


@dataclass(frozen=True)
class Providers:
    """The providers in use, and those among them that are ours to shut down."""

    tracer: Any
    meter: Any
    logger: Any
    owned: tuple[Any, ...] = ()


def provide(
    settings: Settings,
    tally: Tally,
    *,
    environ: Mapping[str, str] = os.environ,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    logger_provider: Any = None,
    strict: bool = True,
) -> Providers:
    """The providers given, else the global ones, else new ones that become the global ones.

    With `OTEL_SDK_DISABLED=true` none is made. Raises `ConfigurationError` for
    an `OTEL_*` variable whose value nobody knows; unless STRICT, that signal is
    not sent, and the log says why.
    """
    owned: list[Any] = []
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    # Everything is read before anything becomes global: a bad variable must not
    # leave one provider in place and the others unmade. What is not to be made
    # is not read: its variables are the business of whoever made it.
    given = {"traces": tracer_provider, "metrics": meter_provider, "logs": logger_provider}
    needed = () if disabled else [name for name in given if not given[name] and _is_unset(name)]
    plan = Plan.read(environ, needed=needed, strict=strict)
    builder = _Builder(settings, tally, environ, owned, disabled, plan)
    return Providers(
        tracer=tracer_provider or builder.tracer(),
        meter=meter_provider or builder.meter(),
        logger=logger_provider or builder.logger(),
        owned=tuple(owned),
    )


def renew_meter(current: Providers, settings: Settings, tally: Tally) -> Providers:
    """CURRENT with a meter provider of the child's own, where the one there is ours.

    A forked child would go on with its parent's totals, and count them twice.
    """
    if not any(current.meter is owned for owned in current.owned):
        return current
    owned = [provider for provider in current.owned if provider is not current.meter]
    builder = _Builder(
        settings, tally, os.environ, owned, False, Plan.read(os.environ, strict=False)
    )
    return replace(current, meter=builder.renew_meter(), owned=tuple(owned))


def _is_unset(signal: str) -> bool:
    """Whether nobody has set the global provider of SIGNAL yet."""
    if signal == "traces":
        return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    if signal == "metrics":
        return _is_placeholder(metrics.get_meter_provider(), "opentelemetry.metrics")
    return _is_placeholder(_logs.get_logger_provider(), "opentelemetry._logs")


def _is_placeholder(provider: Any, home: str) -> bool:
    """Whether PROVIDER only stands for one that is set later; Logfire's are called alike."""
    kind = type(provider)
    return "Proxy" in kind.__name__ and kind.__module__.startswith(home)


@dataclass(frozen=True)
class Plan:
    """What the standard variables ask for."""

    choices: Mapping[str, tuple[Choice, ...]]
    span_delay: int

    @classmethod
    def read(
        cls, environ: Mapping[str, str], *, needed: Sequence[str] = SIGNALS, strict: bool = True
    ) -> Plan:
        """Read ENVIRON for the NEEDED signals.

        Raises `ConfigurationError` that names what cannot be used; unless
        STRICT, which leaves that signal out.
        """
        choices: dict[str, tuple[Choice, ...]] = {}
        for signal in needed:
            choices[signal] = _lenient(partial(choose, signal, environ), (), signal, strict)
        delay = partial(_milliseconds, "OTEL_BSP_SCHEDULE_DELAY", environ, default=_SPAN_DELAY)
        reads_delay = "traces" in needed
        return cls(
            choices=choices,
            span_delay=_lenient(delay, _SPAN_DELAY, "", strict) if reads_delay else _SPAN_DELAY,
        )


def _lenient(read: Callable[[], T], otherwise: T, signal: str, strict: bool) -> T:
    try:
        return read()
    except ConfigurationError as error:
        if strict:
            raise
        consequence = f"No {signal} are sent." if signal else "The default is used."
        logger.error("%s %s", error, consequence)  # noqa: TRY400  (the message says it all)
        return otherwise


def _milliseconds(variable: str, environ: Mapping[str, str], *, default: int) -> int:
    raw = environ.get(variable, "").strip()
    if not raw:
        return default
    if not raw.isdecimal() or int(raw) == 0:
        raise ConfigurationError(f"Bad setting: {variable}: {raw!r} is no number of milliseconds.")
    return int(raw)


class _Builder:
    def __init__(
        self,
        settings: Settings,
        tally: Tally,
        environ: Mapping[str, str],
        owned: list[Any],
        disabled: bool,
        plan: Plan,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._tally = tally
        self._environ = environ
        self._owned = owned
        self._disabled = disabled

    def tracer(self) -> Any:
        if self._disabled or not _is_unset("traces"):
            return trace.get_tracer_provider()
        return self._own(self._new_tracer(), trace.set_tracer_provider)

    def meter(self) -> Any:
        if self._disabled or not _is_unset("metrics"):
            return metrics.get_meter_provider()
        return self._own(self._new_meter(), metrics.set_meter_provider)

    def logger(self) -> Any:
        if self._disabled or not _is_unset("logs"):
            return _logs.get_logger_provider()
        return self._own(self._new_logger(), _logs.set_logger_provider)

    def renew_meter(self) -> Any:
        """A meter provider for a forked child, that is not the global one."""
        provider = self._new_meter()
        self._owned.append(provider)
        return provider

    def _own(self, provider: Any, publish: Callable[[Any], None]) -> Any:
        self._owned.append(provider)
        publish(provider)
        return provider

    def _new_tracer(self) -> Any:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from prefect_otel_status.exporters.lazy import LazySpanExporter
        from prefect_otel_status.idgen import RunIdGenerator

        provider = TracerProvider(
            resource=self._resource(), id_generator=RunIdGenerator(), shutdown_on_exit=False
        )
        delay = self._plan.span_delay
        for make in self._factories("traces"):
            exporter = LazySpanExporter(make, self._tally)
            provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=delay))
        return provider

    def _new_meter(self) -> Any:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        from prefect_otel_status.exporters.lazy import LazyMetricExporter
        from prefect_otel_status.exporters.preferences import from_environment

        preferences = from_environment(self._environ)
        readers = [
            PeriodicExportingMetricReader(LazyMetricExporter(make, self._tally, **preferences))
            for make in self._factories("metrics")
        ]
        return MeterProvider(readers, resource=self._resource(), shutdown_on_exit=False)

    def _new_logger(self) -> Any:
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        from prefect_otel_status.exporters.lazy import LazyLogExporter

        provider = LoggerProvider(resource=self._resource(), shutdown_on_exit=False)
        for make in self._factories("logs"):
            exporter = LazyLogExporter(make, self._tally)
            provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        return provider

    def _factories(self, signal: str) -> list[Callable[[], Any]]:
        return [factory(signal, choice, self._settings) for choice in self._plan.choices[signal]]

    def _resource(self) -> Any:
        from opentelemetry.sdk.resources import Resource

        found: dict[str, Any] = {}
        if self._settings.environment:
            found[signals.ENVIRONMENT.name] = self._settings.environment
        if not _names_service(self._environ):
            # Jaeger and its kin search by service: a deployment's name says more
            # than `unknown_service`.
            found["service.name"] = self._environ.get("PREFECT__DEPLOYMENT_NAME") or "prefect-flows"
        return Resource.create(found)


def _names_service(environ: Mapping[str, str]) -> bool:
    pairs = environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    named = {pair.partition("=")[0].strip() for pair in pairs if pair.partition("=")[2].strip()}
    return bool(environ.get("OTEL_SERVICE_NAME", "").strip()) or "service.name" in named


def warn_of_propagators() -> bool:
    """Warn, and return True, where the propagators lack W3C trace context.

    Prefect carries a run's span in its label with the global propagator, and
    reads only `traceparent` back.
    """
    context = SpanContext(1, 1, False, TraceFlags(TraceFlags.SAMPLED))
    carrier: dict[str, str] = {}
    propagate.inject(carrier, set_span_in_context(NonRecordingSpan(context)))
    if "traceparent" in carrier:
        return False
    logger.warning(
        "The OpenTelemetry propagators lack W3C trace context, so Prefect cannot hand its spans "
        "on and every task run becomes a trace of its own. Add tracecontext to OTEL_PROPAGATORS."
    )
    return True


def run_all(calls: Sequence[Callable[[], object]], timeout: float) -> bool:
    """Make CALLS side by side, for at most TIMEOUT seconds; tell whether all came back.

    Each on a daemon thread: with the collector down the SDK's own shutdown
    blocks for 30 seconds, and its flush ignores its timeout.
    """
    threads = [threading.Thread(target=_quietly, args=(call,), daemon=True) for call in calls]
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:
        logger.debug("A provider could not be flushed: %s", error)
