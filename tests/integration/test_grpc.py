"""OTLP over gRPC, with headers, by the standard variables."""

from __future__ import annotations

import pytest

from tests.conftest import run_flow
from tests.support.grpc_receiver import grpc_receiver

pytestmark = pytest.mark.server


def test_everything_goes_over_grpc_with_the_headers(flow_env: dict[str, str]) -> None:
    with grpc_receiver() as received:
        env = {
            **flow_env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-scope-orgid=models",
        }
        run_flow("deploy.py", "0.9", env=env)
        assert {"RUN deploy", "evaluate", "promote"} <= {span.name for span in received.spans}
        assert {headers["x-scope-orgid"] for headers in received.headers} == {"models"}
        assert "Scored {model}: {accuracy:.1%}" in {log.event_name for log in received.logs}
        assert "prefect_status.messages" in {metric.name for metric in received.metrics}
