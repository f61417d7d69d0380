"""What every way of sending gives back: one outcome, whatever the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Protocol

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from prefect_otel_status import sanitize
from prefect_otel_status.redact import REPLACEMENT, Redactor

_LIMIT = 300
_LONGEST = 4096  # characters that are looked at; a receiver may answer with a page
_redact = Redactor()

RESPONSES: dict[str, Any] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}
"""What a receiver answers, by signal."""


class Kind(Enum):
    """What became of a request."""

    DELIVERED = "delivered"
    PARTIAL = "partial"
    RETRY = "retry"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    UNAUTHORIZED = "unauthorized"


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a request, and the receiver's words for it.

    `retry_after` is in seconds; `rejected` is how many items of a partial
    success are lost; `bounded` marks what is not retried for ever.
    """

    kind: Kind
    message: str = ""
    retry_after: float | None = None
    rejected: int = 0
    bounded: bool = False


class Sender(Protocol):
    """Sends the frozen items of a signal as one request."""

    async def send(self, signal: str, bodies: Sequence[bytes]) -> Outcome:
        """Send BODIES as they are. What goes wrong is in the outcome, never raised."""

    async def close(self) -> None:
        """Let go of the connection. Nothing can be sent after."""


def of_response(response: Any, words: Callable[[str], str]) -> Outcome:
    """The outcome that RESPONSE, an OTLP export response, tells, in its WORDS made clean."""
    partial = response.partial_success
    names = ("rejected_spans", "rejected_log_records", "rejected_data_points")
    rejected = max(getattr(partial, name, 0) for name in names)
    message = words(partial.error_message)
    if rejected > 0:
        return Outcome(Kind.PARTIAL, message or "no reason was given", rejected=rejected)
    return Outcome(Kind.DELIVERED, message)


def clean(message: str, *, secrets: Iterable[str] = ()) -> str:
    """MESSAGE in one line of at most 300 characters, without SECRETS and their kin."""
    message = message[:_LONGEST]
    for secret in secrets:
        message = message.replace(secret, REPLACEMENT)
    return sanitize.line(_redact(" ".join(message.split())), limit=_LIMIT)


def secrets_of(headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What a receiver must not make us repeat of HEADERS: values, and what follows a scheme."""
    values = [value for _, value in headers]
    found = {part for value in values for part in (value, value.rpartition(" ")[2])}
    # The longest first, or a part of it would stay. What is short is in every text.
    return tuple(sorted((part for part in found if len(part) > 3), key=len, reverse=True))
