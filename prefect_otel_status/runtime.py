"""What this process is doing: the one place that wires settings, sinks and providers."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, TypeVar

from opentelemetry import _logs, metrics, trace

from prefect_otel_status import providers, runs, signals
from prefect_otel_status import settings as settings_module
from prefect_otel_status.background import Background
from prefect_otel_status.cleaner import Cleaner
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.model import LEVELS, Record
from prefect_otel_status.prefect_names import Deployments, RunUrls
from prefect_otel_status.providers import Providers
from prefect_otel_status.recorder import Recorder
from prefect_otel_status.runs import RunHandle, RunRegistry
from prefect_otel_status.settings import Settings
from prefect_otel_status.sinks.base import Sink
from prefect_otel_status.sinks.log import LogSink
from prefect_otel_status.sinks.metric import MetricSink
from prefect_otel_status.sinks.otel_instruments import OtelInstruments
from prefect_otel_status.sinks.prefect_event import PrefectEventSink
from prefect_otel_status.sinks.run_log import RunLogSink, send_lines
from prefect_otel_status.tally import Tally
from prefect_otel_status.version import VERSION

T = TypeVar("T")

_RUN_END_FLUSH = 1.0


class Runtime:
    """Everything that one process needs to tell what its runs do. All of it can be given.

    Providers are made when the first run starts, so that one that the user
    sets before is used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], int] = time.time_ns,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        logger_provider: Any = None,
        registry: Any = None,
        sinks: Sequence[Sink] | None = None,
        emit_event: Any = None,
        strict: bool = False,
    ) -> None:
        self._strict = strict
        self.settings = settings
        self.clock = clock
        self.tally = Tally()
        self.cleaner = Cleaner(settings, self.tally)
        self.registry = RunRegistry()
        self.background = Background(tally=self.tally)
        self.urls = RunUrls(self.tally)
        self.deployments = Deployments(self.tally)
        self._given = {
            "tracer_provider": tracer_provider,
            "meter_provider": meter_provider,
            "logger_provider": logger_provider,
        }
        self._providers: Providers | None = None
        self._providers_lock = threading.RLock()
        self._metric_sinks = self._make_metric_sinks(registry)
        self.recorder = Recorder(
            self._make_sinks(emit_event) if sinks is None else sinks,
            tally=self.tally,
            capacity=settings.queue_size,
            clock=clock,
            on_overflow=self._add_folded,
        )
        self._default_bound = _default_bound(settings)
        self.levels = frozenset(settings.levels) & frozenset(LEVELS)
        self._closed = False
        self._forked = False
        self._registered_late = False

    @property
    def enabled(self) -> bool:
        return self.settings.enabled

    @property
    def bridge_owns_root(self) -> bool:
        return self.settings.trace_root == "bridge"

    def providers(self) -> Providers:
        """The providers in use; made now if this is the first that needs them."""
        if self._providers is None:
            with self._providers_lock:
                if self._providers is None:
                    self._providers = self._provide()
        return self._providers

    def tracer(self) -> trace.Tracer:
        """The tracer of our own spans: stages, late statuses."""
        tracer: trace.Tracer = self.providers().tracer.get_tracer(signals.SCOPE, VERSION)
        return tracer

    def bound(self, handle: RunHandle | None) -> Mapping[str, Any]:
        """All that is bound for what is said now, the settings' environment included."""
        bound = runs.bound_now(handle)
        return {**self._default_bound, **bound} if self._default_bound else bound

    def bound_in_all(self, handle: RunHandle) -> Mapping[str, Any]:
        """All that was bound in a run, blocks that were left included: for its span and its end."""
        return {**self._default_bound, **runs.bound_in_all(handle)}

    def put(self, record: Record, context: Context | None = None) -> Envelope:
        """Hand RECORD to the sinks. Never waits."""
        envelope = Envelope(record, self.cleaner, context)
        self.recorder.put(envelope)
        return envelope

    def guard(self, place: str, call: Callable[[], T]) -> T | None:
        """The result of CALL; None, counted and logged once, where it raises."""
        try:
            return call()
        except Exception as error:
            self.tally.failed(place, error)
            return None

    def run_ended(self) -> None:
        """Pass on what was said: the process may end with its run.

        Waits for at most a second, and not at all where that would hold up an
        event loop.
        """
        if not self._registered_late:
            # Prefect's services have registered their own exit by now, and the
            # last to register is called first: they must still take our events.
            self._registered_late = True
            register_exit(self)
        if _in_event_loop():
            self.recorder.nudge()
        else:
            self.recorder.flush(_RUN_END_FLUSH)

    def flush(self, timeout: float) -> bool:
        """Pass on and send everything, for at most TIMEOUT seconds; tell whether all was sent."""
        deadline = time.monotonic() + timeout
        passed = self.recorder.flush(timeout)
        calls: list[Callable[[], object]] = [lambda: self.background.flush(_left(deadline))]
        if self._providers is not None:
            calls.extend(owned.force_flush for owned in self._providers.owned)
        return providers.run_all(calls, _left(deadline)) and passed

    def shutdown(self, timeout: float | None = None) -> bool:
        """End the spans that never ended, send everything, stop. At most TIMEOUT seconds."""
        if self._closed:
            return True
        self._closed = True
        bound = self.settings.exit_timeout if timeout is None else timeout
        deadline = time.monotonic() + bound
        for handle in self.registry.live():
            if handle.span is not None:
                handle.span.abandon()
        stopped = self.recorder.stop(_left(deadline))
        calls: list[Callable[[], object]] = [lambda: self.background.flush(_left(deadline))]
        if self._providers is not None:
            calls.extend(owned.shutdown for owned in self._providers.owned)
        return providers.run_all(calls, _left(deadline)) and stopped

    def after_fork(self) -> None:
        """Begin anew in a child: threads, queues and locks are the parent's."""
        self.tally.after_fork()
        self.registry.after_fork()
        self.recorder.after_fork()
        self.background.after_fork()
        self._providers_lock = threading.RLock()
        self._forked = True

    def _provide(self) -> Providers:
        providers.warn_of_propagators()
        made = providers.provide(self.settings, self.tally, strict=self._strict, **self._given)
        if made.owned:
            install_sigterm(self)
        return made

    def _make_sinks(self, emit_event: Any) -> list[Sink]:
        wanted = self.settings
        made: list[Sink] = []
        if wanted.prefect_events:
            made.append(PrefectEventSink(interval=wanted.event_interval, emit=emit_event))
        if wanted.run_log:
            made.append(RunLogSink(self._post_lines, console=wanted.console))
        made.extend(self._metric_sinks)
        if wanted.log_events or wanted.log_lines:
            made.append(LogSink(self._otel_logger, events=wanted.log_events))
        return made

    def _make_metric_sinks(self, registry: Any) -> list[MetricSink]:
        made: list[MetricSink] = []
        if self.settings.metrics:
            made.append(self._metric_sink(OtelInstruments(self._meter), "metric"))
        if self.settings.prometheus or registry is not None:
            from prometheus_client import REGISTRY

            from prefect_otel_status.sinks.prometheus_instruments import PrometheusInstruments

            instruments = PrometheusInstruments(registry or REGISTRY)
            made.append(self._metric_sink(instruments, "prometheus"))
        return made

    def _metric_sink(self, instruments: Any, name: str) -> MetricSink:
        return MetricSink(
            instruments,
            name=name,
            tally=self.tally,
            deployment_of=self.deployments.resolve,
            budget=self.settings.label_budget,
            extra_labels=self.settings.labels,
        )

    def _post_lines(self, lines: list[dict[str, Any]], context: Context) -> None:
        self.background.submit("run_log", lambda: send_lines(lines), context)

    def _add_folded(self, counts: Counter[Any]) -> None:
        clean: Counter[Any] = Counter()
        for (run, stage, level, template, environment), count in counts.items():
            safe = (self._label(stage), level, self._label(template), self._label(environment))
            clean[run, safe[0], safe[1], safe[2], safe[3]] += count
        for sink in self._metric_sinks:
            sink.add_folded(clean)

    def _label(self, value: Any) -> str | None:
        return None if value is None else self.cleaner.line(value)

    def _meter(self) -> metrics.Meter:
        if self._forked and self._providers is not None:
            self._forked = False
            self._providers = providers.renew_meter(self._providers, self.settings, self.tally)
        meter: metrics.Meter = self.providers().meter.get_meter(signals.SCOPE, VERSION)
        return meter

    def _otel_logger(self) -> _logs.Logger:
        logger: _logs.Logger = self.providers().logger.get_logger(signals.SCOPE, VERSION)
        return logger


def _default_bound(settings: Settings) -> dict[str, Any]:
    return {signals.ENVIRONMENT.name: settings.environment} if settings.environment else {}


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _left(deadline: float) -> float:
    return max(0.05, deadline - time.monotonic())


_runtime: Runtime | None = None
_runtime_lock = threading.RLock()
_fork_registered = False


def get() -> Runtime:
    """The runtime of this process; made from the environment if there is none yet. Never raises."""
    found = _runtime
    return found if found is not None else _make()


def _make() -> Runtime:
    with _runtime_lock:
        return _runtime if _runtime is not None else use(Runtime(settings_module.load_safely()))


def current() -> Runtime | None:
    """The runtime of this process, if there is one yet."""
    return _runtime


def use(runtime: Runtime | None) -> Any:
    """Make RUNTIME the one of this process, and return it; None forgets the present one."""
    global _runtime
    _register_fork()
    _runtime = runtime
    if runtime is not None:
        register_exit(runtime)
    return runtime


def flush(timeout: float = 2.0) -> bool:
    """Pass on and send everything, for at most TIMEOUT seconds; tell whether all was sent."""
    return True if _runtime is None else _runtime.flush(timeout)


def shutdown(timeout: float = 2.0) -> bool:
    """Send everything and stop, for at most TIMEOUT seconds. Done at exit by itself."""
    return True if _runtime is None else _runtime.shutdown(timeout)


def register_exit(runtime: Runtime) -> None:
    """Shut RUNTIME down when the interpreter begins to exit.

    That is when threads are joined: it comes before `atexit`, where Prefect can
    send no events any more, and it also happens in `multiprocessing` children.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(runtime.shutdown)
    except RuntimeError as error:  # the interpreter is on its way out already
        runtime.tally.failed("exit", error)


def install_sigterm(runtime: Runtime) -> bool:
    """Send what is finished when SIGTERM would end the process; tell whether it could be set up.

    Only where nobody else handles the signal, and on the main thread. The
    process still dies of the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False

    def on_sigterm(number: int, frame: object) -> None:
        runtime.guard("sigterm", runtime.shutdown)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, on_sigterm)
    return True


def _register_fork() -> None:
    global _fork_registered
    if not _fork_registered and hasattr(os, "register_at_fork"):
        _fork_registered = True
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    global _runtime_lock
    _runtime_lock = threading.RLock()
    if _runtime is not None:
        _runtime.after_fork()
        # Once more, to be called before Prefect's own services, whose exit
        # fails in a forked child and would keep ours from being reached.
        register_exit(_runtime)


__all__ = [
    "Runtime",
    "current",
    "flush",
    "get",
    "register_exit",
    "shutdown",
    "use",
]
