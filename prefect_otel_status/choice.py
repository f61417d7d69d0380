"""Which exporter a signal goes to, by the standard `OTEL_*` variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from prefect_otel_status.settings import ConfigurationError, Settings

LOCAL = "local"
GRPC = "grpc"
HTTP = "http/protobuf"
_KINDS = ("otlp", "console", "none")
_PROTOCOLS = (GRPC, HTTP)


class Choice(NamedTuple):
    """Where a signal goes: `otlp` with its protocol, `console`, `none` or `local`."""

    kind: str
    protocol: str = ""


def choose(signal: str, environ: Mapping[str, str]) -> tuple[Choice, ...]:
    """The exporters of SIGNAL (`traces`, `metrics`, `logs`) that ENVIRON asks for.

    Without an endpoint and without `OTEL_<SIGNAL>_EXPORTER` that is the local
    folder. Raises `ConfigurationError` for a value that nobody knows.
    """
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    asked = [part.strip() for part in environ.get(variable, "").split(",") if part.strip()]
    if not asked:
        return (_otlp(signal, environ),) if _endpoint(signal, environ) else (Choice(LOCAL),)
    for kind in asked:
        if kind not in _KINDS:
            raise ConfigurationError(
                f"Bad setting: {variable}: {kind!r} is not known here, "
                f"use one of {', '.join(_KINDS)}."
            )
    kinds = [kind for kind in asked if kind != "none"]
    return tuple(_otlp(signal, environ) if kind == "otlp" else Choice(kind) for kind in kinds)


def _otlp(signal: str, environ: Mapping[str, str]) -> Choice:
    for variable in (
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ):
        protocol = environ.get(variable, "").strip()
        if protocol and protocol not in _PROTOCOLS:
            raise ConfigurationError(
                f"Bad setting: {variable}: {protocol!r} is not known here, "
                f"use one of {', '.join(_PROTOCOLS)}."
            )
        if protocol:
            return Choice("otlp", protocol)
    # 4317 is gRPC's port by convention, and what most people copy first.
    return Choice("otlp", GRPC if _port(signal, environ) == 4317 else HTTP)


def _endpoint(signal: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that names the endpoint of SIGNAL, and the endpoint; None where none does."""
    for variable in (
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ):
        if endpoint := environ.get(variable, "").strip():
            return variable, endpoint
    return None


def _port(signal: str, environ: Mapping[str, str]) -> int | None:
    found = _endpoint(signal, environ)
    if found is None:
        return None
    variable, endpoint = found
    try:
        return urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").port
    except ValueError as error:
        raise ConfigurationError(f"Bad setting: {variable}: {error}.") from None


def factory(signal: str, choice: Choice, settings: Settings) -> Callable[[], Any]:
    """What imports and builds the exporter of CHOICE for SIGNAL, when it is called."""
    if choice.kind == LOCAL:
        return lambda: _local(signal, settings)
    if choice.kind == "console":
        return lambda: _console(signal)
    return lambda: _build_otlp(signal, choice.protocol)


def _local(signal: str, settings: Settings) -> Any:
    from prefect_otel_status.exporters.json_lines import EXPORTERS

    return EXPORTERS[signal](settings.folder, size=settings.folder_size)


def _console(signal: str) -> Any:
    from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    kinds: dict[str, Callable[[], Any]] = {
        "traces": ConsoleSpanExporter,
        "metrics": ConsoleMetricExporter,
        "logs": ConsoleLogRecordExporter,
    }
    return kinds[signal]()


def _build_otlp(signal: str, protocol: str) -> Any:
    from importlib import import_module

    place = "grpc" if protocol == GRPC else "http"
    module, name = {
        "traces": ("trace_exporter", "OTLPSpanExporter"),
        "metrics": ("metric_exporter", "OTLPMetricExporter"),
        "logs": ("_log_exporter", "OTLPLogExporter"),
    }[signal]
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{place}.{module}"), name)()
