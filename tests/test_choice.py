"""Which exporter a signal goes to, by the standard variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

from prefect_otel_status.choice import GRPC, HTTP, LOCAL, Choice, choose, factory
from prefect_otel_status.exporters.json_lines import (
    JsonLogExporter,
    JsonMetricExporter,
    JsonSpanExporter,
)
from prefect_otel_status.settings import ConfigurationError, Settings

SIGNALS = ("traces", "metrics", "logs")
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
OTLP_HTTP, OTLP_GRPC = Choice("otlp", HTTP), Choice("otlp", GRPC)

# Variables, and the exporters of each signal; `{S}` is the signal in capitals.
TABLE: list[tuple[dict[str, str], tuple[Choice, ...]]] = [
    ({}, (Choice(LOCAL),)),
    ({ENDPOINT: ""}, (Choice(LOCAL),)),
    ({ENDPOINT: "   "}, (Choice(LOCAL),)),
    ({PROTOCOL: GRPC}, (Choice(LOCAL),)),
    ({ENDPOINT: "http://collector:4318"}, (OTLP_HTTP,)),
    ({ENDPOINT: "https://collector/v1/"}, (OTLP_HTTP,)),
    ({ENDPOINT: "http://collector:4317"}, (OTLP_GRPC,)),
    ({ENDPOINT: "collector:4317"}, (OTLP_GRPC,)),
    ({ENDPOINT: "http://[::1]:4317/"}, (OTLP_GRPC,)),
    ({ENDPOINT: "http://eve:pw@collector:4317"}, (OTLP_GRPC,)),
    ({ENDPOINT: "file:///tmp/4317"}, (OTLP_HTTP,)),
    ({ENDPOINT: "http://collector:4317", PROTOCOL: HTTP}, (OTLP_HTTP,)),
    ({ENDPOINT: "http://collector:4318", PROTOCOL: GRPC}, (OTLP_GRPC,)),
    ({ENDPOINT: "http://collector:4318", PROTOCOL: f" {GRPC} "}, (OTLP_GRPC,)),
    ({ENDPOINT: "http://collector:4317", PROTOCOL: ""}, (OTLP_GRPC,)),
    ({"OTEL_EXPORTER_OTLP_{S}_ENDPOINT": "http://collector:4318/v1"}, (OTLP_HTTP,)),
    (
        {ENDPOINT: "http://collector:4318", "OTEL_EXPORTER_OTLP_{S}_ENDPOINT": "http://other:4317"},
        (OTLP_GRPC,),
    ),
    (
        {ENDPOINT: "http://c:1", PROTOCOL: GRPC, "OTEL_EXPORTER_OTLP_{S}_PROTOCOL": HTTP},
        (OTLP_HTTP,),
    ),
    ({"OTEL_{S}_EXPORTER": "otlp"}, (OTLP_HTTP,)),
    ({"OTEL_{S}_EXPORTER": "otlp", PROTOCOL: GRPC}, (OTLP_GRPC,)),
    ({"OTEL_{S}_EXPORTER": "console"}, (Choice("console"),)),
    ({"OTEL_{S}_EXPORTER": "console", ENDPOINT: "http://collector:4318"}, (Choice("console"),)),
    ({"OTEL_{S}_EXPORTER": "none", ENDPOINT: "http://collector:4318"}, ()),
    ({"OTEL_{S}_EXPORTER": "otlp, console,none,"}, (OTLP_HTTP, Choice("console"))),
    ({"OTEL_{S}_EXPORTER": " , "}, (Choice(LOCAL),)),
]


def variables(signal: str, template: Mapping[str, str]) -> dict[str, str]:
    """TEMPLATE with the name of SIGNAL in its keys."""
    return {name.replace("{S}", signal.upper()): value for name, value in template.items()}


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(("template", "choices"), TABLE)
def test_the_environment_chooses_the_exporters(
    signal: str, template: dict[str, str], choices: tuple[Choice, ...]
) -> None:
    assert choose(signal, variables(signal, template)) == choices


def test_the_variables_of_one_signal_leave_the_others_alone() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4317",
        "OTEL_METRICS_EXPORTER": "none",
    }
    assert {signal: choose(signal, environ) for signal in SIGNALS} == {
        "traces": (OTLP_GRPC,),
        "metrics": (),
        "logs": (Choice(LOCAL),),
    }


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            {"OTEL_{S}_EXPORTER": "jaeger"},
            "Bad setting: OTEL_{S}_EXPORTER: 'jaeger' is not known here, "
            "use one of otlp, console, none.",
        ),
        (
            {"OTEL_{S}_EXPORTER": "otlp,OTLP"},
            "Bad setting: OTEL_{S}_EXPORTER: 'OTLP' is not known here, "
            "use one of otlp, console, none.",
        ),
        (
            {ENDPOINT: "http://c:1", PROTOCOL: "http/json"},
            "Bad setting: OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not known here, "
            "use one of grpc, http/protobuf.",
        ),
        (
            {ENDPOINT: "http://c:1", "OTEL_EXPORTER_OTLP_{S}_PROTOCOL": "udp", PROTOCOL: GRPC},
            "Bad setting: OTEL_EXPORTER_OTLP_{S}_PROTOCOL: 'udp' is not known here, "
            "use one of grpc, http/protobuf.",
        ),
        (
            {ENDPOINT: "http://collector:70000"},
            "Bad setting: OTEL_EXPORTER_OTLP_ENDPOINT: Port out of range 0-65535.",
        ),
        (
            {ENDPOINT: "http://[::1"},
            "Bad setting: OTEL_EXPORTER_OTLP_ENDPOINT: Invalid IPv6 URL.",
        ),
        (
            {"OTEL_EXPORTER_OTLP_{S}_ENDPOINT": "http://collector:70000"},
            "Bad setting: OTEL_EXPORTER_OTLP_{S}_ENDPOINT: Port out of range 0-65535.",
        ),
    ],
)
def test_a_value_that_nobody_knows_is_named_with_what_to_use(
    signal: str, template: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose(signal, variables(signal, template))
    assert str(caught.value) == words.replace("{S}", signal.upper())


def test_a_bad_address_is_named_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose("traces", {ENDPOINT: "http://eve:hunter22@collector:port"})
    assert "hunter22" not in str(caught.value)


# --- building ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "choice", "kind"),
    [
        ("traces", Choice(LOCAL), JsonSpanExporter),
        ("metrics", Choice(LOCAL), JsonMetricExporter),
        ("logs", Choice(LOCAL), JsonLogExporter),
        ("traces", Choice("console"), ConsoleSpanExporter),
        ("metrics", Choice("console"), ConsoleMetricExporter),
        ("logs", Choice("console"), ConsoleLogRecordExporter),
        ("traces", OTLP_HTTP, HttpSpans),
        ("metrics", OTLP_HTTP, HttpMetrics),
        ("logs", OTLP_HTTP, HttpLogs),
        ("traces", OTLP_GRPC, GrpcSpans),
        ("metrics", OTLP_GRPC, GrpcMetrics),
        ("logs", OTLP_GRPC, GrpcLogs),
    ],
)
def test_every_choice_is_built_when_it_is_asked_for(
    signal: str, choice: Choice, kind: type, tmp_path: Path
) -> None:
    exporter: Any = factory(signal, choice, Settings(folder=tmp_path))()
    try:
        assert type(exporter) is kind
    finally:
        exporter.shutdown()


def test_the_local_exporter_takes_folder_and_size_from_the_settings(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, folder_size=4321)
    exporter: Any = factory("traces", Choice(LOCAL), settings)()
    assert (exporter._lines._path, exporter._lines._size) == (tmp_path / "traces.jsonl", 4321)
