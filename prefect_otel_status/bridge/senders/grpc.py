"""OTLP over gRPC: the frozen bytes go as they are, and only the answer is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc  # type: ignore[import-untyped]  # it has no stubs
import grpc.aio  # type: ignore[import-untyped]  # it has no stubs
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it has no stubs

from prefect_otel_status.bridge.endpoint import Endpoint, Tls
from prefect_otel_status.bridge.otlp import request
from prefect_otel_status.bridge.senders.base import (
    RESPONSES,
    Kind,
    Outcome,
    clean,
    of_response,
    secrets_of,
)
from prefect_otel_status.version import VERSION

_PATHS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_OPTIONS = (
    ("grpc.primary_user_agent", f"prefect-otel-status/{VERSION}"),
    # gRPC's own back-off goes up to two minutes; ours decides when to try again.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A channel that was made anew shall not find the connection that was dead.
    ("grpc.use_local_subchannel_pool", 1),
)
_Code = grpc.StatusCode
# As OTLP's specification lists them.
_LATER = frozenset(
    {
        *(_Code.CANCELLED, _Code.DEADLINE_EXCEEDED, _Code.ABORTED),
        *(_Code.OUT_OF_RANGE, _Code.UNAVAILABLE, _Code.DATA_LOSS),
    }
)
_BROKEN = frozenset({_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED})
_MISDIRECTED = frozenset({_Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED, _Code.UNIMPLEMENTED})
# gRPC's counterparts of HTTP's 500.
_BOUNDED = frozenset({_Code.INTERNAL, _Code.UNKNOWN})


class GrpcSender:
    """Calls OTLP's export services on one channel, which finds its way back by itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._secrets = secrets_of(endpoint.headers)
        self._channel: Any = None

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        """Send BODIES as one request. What goes wrong is in the outcome, never raised."""
        try:
            response = await self._call(signal, request(bodies))
        except grpc.aio.AioRpcError as error:
            if error.code() in _BROKEN:
                # The next channel reads certificates that were renewed meanwhile,
                # and does not wait for the kernel to give a dead peer up.
                await self.close()
            return self._outcome(error)
        except OSError as error:
            return Outcome(Kind.RETRY, self._clean(str(error)))
        return of_response(response, self._clean)

    async def close(self) -> None:
        """Let go of the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _call(self, signal: str, content: bytes) -> Any:
        if self._channel is None:
            self._channel = _open(self._endpoint)
        method = self._channel.unary_unary(
            _PATHS[signal],
            request_serializer=None,
            response_deserializer=RESPONSES[signal].FromString,
        )
        metadata = self._endpoint.headers
        return await method(content, timeout=self._endpoint.timeout, metadata=metadata)

    def _outcome(self, error: grpc.aio.AioRpcError) -> Outcome:
        code, delay = error.code(), _delay(error.trailing_metadata())
        message = self._clean(f"{code.name}: {error.details() or 'no reason was given'}")
        if code in _LATER or (code is _Code.RESOURCE_EXHAUSTED and delay is not None):
            return Outcome(Kind.RETRY, message, retry_after=delay)
        if code is _Code.RESOURCE_EXHAUSTED:
            # Without a delay it says that the request was too large for it.
            return Outcome(Kind.TOO_LARGE, message)
        if code in _BOUNDED:
            return Outcome(Kind.RETRY, message, retry_after=delay, bounded=True)
        return Outcome(Kind.UNAUTHORIZED if code in _MISDIRECTED else Kind.REFUSED, message)

    def _clean(self, message: str) -> str:
        return clean(message, secrets=self._secrets)


def _open(endpoint: Endpoint) -> Any:
    compression = grpc.Compression.Gzip if endpoint.gzip else grpc.Compression.NoCompression
    options: dict[str, Any] = {"options": _OPTIONS, "compression": compression}
    if not endpoint.secure:
        return grpc.aio.insecure_channel(endpoint.address, **options)
    return grpc.aio.secure_channel(endpoint.address, _credentials(endpoint.tls), **options)


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    # A client's certificate and its key may share a file.
    key = tls.client_key or tls.client_certificate
    files = (tls.certificate, key, tls.client_certificate)
    return grpc.ssl_channel_credentials(*(path.read_bytes() if path else None for path in files))


def _delay(metadata: Any) -> float | None:
    """Seconds that the receiver asks for, in any of the ways in which they are said."""
    said = {str(key).lower(): value for key, value in metadata or ()}
    for key, read in _DELAYS.items():
        if key in said and (delay := _guarded(read, said[key])) is not None:
            return max(0.0, delay)
    return None


def _guarded(read: Callable[[Any], float | None], value: Any) -> float | None:
    try:
        return read(value)
    except (DecodeError, ValueError, TypeError):
        return None


def _seconds(info: RetryInfo) -> float:
    return float(info.retry_delay.ToTimedelta().total_seconds())


def _of_status(value: bytes) -> float | None:
    for detail in Status.FromString(value).details:
        info = RetryInfo()
        if detail.Unpack(info):
            return _seconds(info)
    return None


_DELAYS: dict[str, Callable[[Any], float | None]] = {
    "grpc-status-details-bin": _of_status,
    "google.rpc.retryinfo-bin": lambda value: _seconds(RetryInfo.FromString(value)),
    "grpc-retry-pushback-ms": lambda value: int(value) / 1000,
}
