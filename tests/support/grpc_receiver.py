"""A real OTLP receiver over gRPC: a grpcio server with OTLP's own services."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc


@dataclass
class GrpcReceived:
    """What a receiver was sent, and with which headers."""

    endpoint: str = ""
    spans: list[Any] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


class _Traces(traces_grpc.TraceServiceServicer):
    def __init__(self, received: GrpcReceived) -> None:
        self._received = received

    def Export(self, request: Any, context: Any) -> Any:
        self._received.headers.append(dict(context.invocation_metadata()))
        for group in request.resource_spans:
            for scope in group.scope_spans:
                self._received.spans.extend(scope.spans)
        return traces.ExportTraceServiceResponse()


class _Logs(logs_grpc.LogsServiceServicer):
    def __init__(self, received: GrpcReceived) -> None:
        self._received = received

    def Export(self, request: Any, context: Any) -> Any:
        for group in request.resource_logs:
            for scope in group.scope_logs:
                self._received.logs.extend(scope.log_records)
        return logs.ExportLogsServiceResponse()


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def __init__(self, received: GrpcReceived) -> None:
        self._received = received

    def Export(self, request: Any, context: Any) -> Any:
        for group in request.resource_metrics:
            for scope in group.scope_metrics:
                self._received.metrics.extend(scope.metrics)
        return metrics.ExportMetricsServiceResponse()


@contextmanager
def grpc_receiver() -> Iterator[GrpcReceived]:
    """Receive OTLP over gRPC on a free loopback port."""
    received = GrpcReceived()
    server = grpc.server(ThreadPoolExecutor(4))
    traces_grpc.add_TraceServiceServicer_to_server(_Traces(received), server)
    logs_grpc.add_LogsServiceServicer_to_server(_Logs(received), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(_Metrics(received), server)
    received.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield received
    finally:
        server.stop(1).wait()
