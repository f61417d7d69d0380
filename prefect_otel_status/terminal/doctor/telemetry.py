"""Checks of the way of traces: a real span goes where the environment says."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from prefect_otel_status import signals
from prefect_otel_status.bridge import otlp
from prefect_otel_status.bridge.assemble import sender_of
from prefect_otel_status.bridge.endpoint import endpoint_of, is_wanted
from prefect_otel_status.bridge.otlp import Resource
from prefect_otel_status.bridge.records import SpanEvent, SpanRecord
from prefect_otel_status.bridge.senders.base import Kind
from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.settings import Settings
from prefect_otel_status.terminal.doctor.check import FAILED, OK, SKIPPED, WARNING, Check, Finding

SERVICE = "prefect-otel-doctor"
"""The service that the probe is of, apart from every flow's and the bridge's."""


def _new_id(size: int) -> int:
    return int.from_bytes(secrets.token_bytes(size), "big") or 1


@dataclass(frozen=True)
class Probe:
    """A span that is marked as synthetic, and belongs to no run."""

    trace_id: int = field(default_factory=lambda: _new_id(16))
    span_id: int = field(default_factory=lambda: _new_id(8))
    at: int = field(default_factory=time.time_ns)

    @property
    def hex(self) -> str:
        return hex_trace_id(self.trace_id)

    def encoded(self) -> bytes:
        """The probe as OTLP."""
        synthetic = {signals.SYNTHETIC.name: "test"}
        said = SpanEvent("probe", self.at, {signals.MESSAGE.name: "Is anybody there?", **synthetic})
        span = SpanRecord(
            name="PROBE",
            kind="INTERNAL",
            trace_id=self.trace_id,
            span_id=self.span_id,
            start=self.at,
            end=self.at + 1_000_000,
            attributes=synthetic,
            events=(said,),
        )
        return otlp.encode_span(span, Resource((("service.name", SERVICE),)))


def checks(settings: Settings, environ: Mapping[str, str], probe: Probe) -> list[Check]:
    """The check that sends PROBE."""
    return [
        Check(
            "traces",
            partial(_send, settings, environ, probe),
            "Is a collector listening there? See OTEL_EXPORTER_OTLP_ENDPOINT and _PROTOCOL.",
        )
    ]


async def _send(settings: Settings, environ: Mapping[str, str], probe: Probe) -> Finding:
    if not is_wanted("traces", environ):
        return Finding(SKIPPED, "OTEL_TRACES_EXPORTER=none: nothing is sent")
    endpoint = endpoint_of("traces", environ)
    if endpoint is None:
        return _folder(settings.folder)
    where = endpoint.shown
    sender = sender_of("traces", settings, environ)
    try:
        outcome = await sender.send("traces", [probe.encoded()])
    finally:
        await sender.close()
    if outcome.kind is Kind.DELIVERED:
        return Finding(OK, f"a probe was taken by {where}")
    if outcome.kind is Kind.PARTIAL:
        return Finding(WARNING, f"{where} took a part only: {outcome.message}")
    if outcome.kind is Kind.UNAUTHORIZED:
        advice = "Correct OTEL_EXPORTER_OTLP_HEADERS, or the address."
        return Finding(FAILED, f"{where} refuses: {outcome.message}", advice)
    return Finding(FAILED, f"{where}: {outcome.message}")


def _folder(folder: Path) -> Finding:
    """Whether traces can be written to FOLDER; the probe is not, or `show` would show it."""
    advice = "Let this user write there, or set OTEL_EXPORTER_OTLP_ENDPOINT."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Finding(OK, f"no endpoint is set: they go to {folder}, which can be written")
    except OSError as error:
        return Finding(FAILED, f"{folder} cannot be written: {error.strerror}", advice)
