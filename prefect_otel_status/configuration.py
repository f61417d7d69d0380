"""`configure`: set this process up before its first run, where the environment is not enough."""

from __future__ import annotations

from typing import Any

from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.instrumentation import instrument
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.settings import load


def configure(
    *,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    logger_provider: Any = None,
    registry: Any = None,
    **options: Any,
) -> None:
    """Set this process up for status messages, before its first run.

    Providers are taken in this order: the ones given, the global ones, new ones
    from the standard `OTEL_*` variables; none that is set is replaced. OPTIONS
    are the settings of `prefect_otel_status.settings.Settings`, and stand over
    `PREFECT_OTEL_STATUS_*`. `registry` is a `prometheus_client` registry in
    which everything is counted as well. Flows and tasks made from now on have
    our hooks.

    Raises `ConfigurationError` that names a bad setting and what to use.
    """
    runtime = Runtime(
        load(**options),
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        logger_provider=logger_provider,
        registry=registry,
        strict=True,
    )
    if runtime.enabled:
        runtime.providers()
        instrument()
    previous = runtime_module.current()
    runtime_module.use(runtime)
    if previous is not None:
        previous.recorder.stop(runtime.settings.exit_timeout)
