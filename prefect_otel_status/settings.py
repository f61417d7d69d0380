"""The settings: one class, read from `PREFECT_OTEL_STATUS_*`. The rest is the standard `OTEL_*`."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_state_path
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "PREFECT_OTEL_STATUS_"

Names = Annotated[tuple[str, ...], NoDecode]
"""Several names: separated by commas in the environment."""

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "OFF")

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhdw]?)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST = 365 * 86_400

logger = logging.getLogger("prefect_otel_status")


class ConfigurationError(ValueError):
    """A setting has a value that cannot be used; the message says which and what to use."""


class Settings(BaseSettings):
    """Everything that can be set, with its default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    enabled: bool = Field(True, description="False: every call of ours does nothing.")
    trace_root: Literal["process", "bridge"] = Field(
        "process",
        description="Who makes the root span `RUN <flow>`: the flow's process, or the bridge.",
    )
    environment: str | None = Field(
        None, description="Value of `deployment.environment.name` where none is bound."
    )
    span_events: bool = Field(True, description="Statuses become events of the run's span.")
    log_events: bool = Field(True, description="Statuses become OpenTelemetry log events.")
    metrics: bool = Field(True, description="Statuses are counted by the OpenTelemetry meter.")
    prometheus: bool = Field(
        False, description="Statuses are counted in `prometheus_client`'s default registry too."
    )
    prefect_events: bool = Field(
        True, description="Statuses become Prefect events, the durable copy that a bridge reads."
    )
    run_log: bool = Field(True, description="Statuses become lines of Prefect's run log.")
    console: bool = Field(True, description="Those lines are shown on the console as well.")
    log_lines: bool = Field(
        True, description="Lines of `get_run_logger()` become trace-correlated log records."
    )
    log_status_level: str = Field(
        "WARNING",
        description="From this level on such a line is a status message too; `OFF` for never.",
    )
    stages: Names = Field(
        (), description="Allowed stages; empty allows all. Others are kept, flagged and counted."
    )
    levels: Names = Field(
        ("debug", "info", "warning", "error", "critical"),
        description="Allowed levels. Others are kept as `info`, flagged and counted.",
    )
    message_length: int = Field(
        160, ge=1, le=4096, description="Longer messages are kept, flagged and counted."
    )
    labels: Names = Field(
        (), description="Bound attributes that become metric labels, besides the environment."
    )
    label_budget: int = Field(
        200, ge=1, description="Distinct values of a free-form label before `__other__`."
    )
    redact: Names = Field((), description="Regular expressions of further secrets to take out.")
    trace_url: str | None = Field(
        None,
        description="Address of a trace, such as `http://localhost:16686/trace/{trace_id}`; "
        "where set, each flow run gets a link artifact to its trace.",
    )
    progress_artifact: bool = Field(
        False, description="`track` shows a progress artifact in Prefect's UI (75 ms a call)."
    )
    folder: Path = Field(
        default_factory=lambda: user_state_path("prefect-otel-status"),
        description="Where OTLP JSON lines go while no OTLP endpoint is set.",
    )
    folder_size: int = Field(
        64_000_000, ge=1_000, description="Bytes of a file in that folder before it is rotated."
    )
    store: str | None = Field(
        None,
        description="Where the bridge keeps its state: a path for SQLite, or "
        "`postgresql+asyncpg://user@host/name`. None is a file in that folder.",
    )
    listen: str = Field(
        "127.0.0.1:9464", description="Where the bridge serves `/metrics` and its other pages."
    )
    allow_public: bool = Field(
        False, description="Let the bridge listen on an address that other machines can reach."
    )
    allowed_hosts: Names = Field(
        (), description="Further names by which the bridge may be asked, such as a service's."
    )
    web_token_file: Path | None = Field(
        None,
        description="A file with a token that whoever asks the bridge must have: as a bearer, or "
        "as the password of any user. Allows addresses that other machines can reach.",
    )
    jaeger_url: str = Field(
        "", description="Where Jaeger's pages are; the bridge's pages then link to traces."
    )
    backfill: str = Field(
        "24h", description="How far back the bridge reads at its first start: `90m`, `24h`, `7d`."
    )
    sweep_interval: float = Field(
        5.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds between two sweeps of Prefect's history.",
    )
    settle: float = Field(
        10.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds after a run's end before the bridge freezes its spans.",
    )
    scrape_interval: float = Field(
        15.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds between two scrapes: a new series is held at 0 for two of them.",
    )
    lease: float = Field(
        10.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="Seconds without a sign of life after which a waiting bridge takes over.",
    )
    retention: str = Field(
        "8d", description="How long the bridge remembers a run that it has settled."
    )
    outbox_size: int = Field(
        256_000_000, ge=1_000_000, description="Bytes that may wait for the OTLP receiver."
    )
    outbox_age: str = Field("7d", description="How long spans may wait for the OTLP receiver.")
    heartbeat_period: float = Field(
        180.0,
        ge=30,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds between heartbeats of runs of which the bridge has seen only one.",
    )
    bridge_logs: bool = Field(
        False, description="The bridge sends the statuses that it reads as log events too."
    )
    bridge_metrics: bool = Field(
        False, description="The bridge pushes its metrics over OTLP too, at the scrape interval."
    )
    queue_size: int = Field(
        10_000, ge=1, description="Statuses that may wait; beyond it only the totals are kept."
    )
    event_interval: float = Field(
        1.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Least seconds between two Prefect events of one run.",
    )
    handler_timeout: float = Field(
        2.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds that a state handler may take before its run goes on.",
    )
    exit_timeout: float = Field(
        2.0,
        gt=0,
        le=30,
        allow_inf_nan=False,
        description="Most seconds that we delay a process's exit.",
    )

    @field_validator("stages", "levels", "labels", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("redact", mode="before")
    @classmethod
    def _split_lines(cls, value: Any) -> Any:
        # Commas belong to regular expressions, so these are one to a line.
        return tuple(filter(None, value.splitlines())) if isinstance(value, str) else value

    @field_validator("redact")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for expression in value:
            _compile(expression)
        return value

    @field_validator("log_status_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in _LOG_LEVELS:
            raise ValueError(f"use one of {', '.join(_LOG_LEVELS)}")
        return value.upper()

    @field_validator("backfill", "retention", "outbox_age")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        seconds_of(value)
        return value

    @field_validator("trace_url")
    @classmethod
    def _has_place(cls, value: str | None) -> str | None:
        if value and "{trace_id}" not in value:
            raise ValueError("put {trace_id} where the trace id belongs")
        return value or None

    @property
    def status_from_level(self) -> int:
        """The number of `log_status_level`; above every level where it is `OFF`."""
        return getattr(logging, self.log_status_level, 10_000)


def seconds_of(duration: str) -> float:
    """The seconds of DURATION, such as `90m`, `24h` or `7d`.

    Raises `ValueError` that says what to write.
    """
    found = _DURATION.fullmatch(duration.strip())
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"{duration!r} is no duration; write 90m, 24h or 7d, at most 365d")
    return seconds


def _compile(expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is not a regular expression: {error}") from None


def load(**options: Any) -> Settings:
    """The settings from OPTIONS and the environment.

    Raises `ConfigurationError` that names each bad setting and what to use.
    """
    warn_about_unknown(os.environ)
    try:
        return Settings(**options)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None


def load_safely() -> Settings:
    """The settings from the environment; bad ones are named in the log and left at their default.

    For use inside a flow, which no setting of ours may break.
    """
    try:
        return load()
    except ConfigurationError as error:
        # The message says it all; the traceback is pydantic's own.
        logger.error("%s The defaults are used instead.", error)  # noqa: TRY400
        return Settings.model_construct(**_good_ones())


def _good_ones() -> dict[str, Any]:
    good: dict[str, Any] = {}
    for name in Settings.model_fields:
        raw = os.environ.get(f"{PREFIX}{name}".upper())
        if raw is None:
            continue
        try:
            checked = Settings.__pydantic_validator__.validate_assignment(
                Settings.model_construct(), name, raw
            )
            good[name] = getattr(checked, name)
        except ValidationError:
            continue
    return good


def warn_about_unknown(environ: Mapping[str, str]) -> list[str]:
    """Warn of variables in ENVIRON that begin like ours and are none; return their names."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    unknown = [name for name in environ if name.startswith(PREFIX) and name not in known]
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        logger.warning("%s is not a setting of prefect-otel-status.%s", name, hint)
    return unknown


def _explain(error: ValidationError) -> str:
    parts = []
    for item in error.errors(include_url=False):
        name = f"{PREFIX}{item['loc'][0]}".upper() if item["loc"] else PREFIX
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(item["loc"][0]), Settings.model_fields, n=1)
            message = "there is no such setting" + (f", perhaps {near[0]!r}" if near else "")
        parts.append(f"{name}: {message[:1].lower()}{message[1:]}")
    return "Bad setting: " + "; ".join(parts) + "."
