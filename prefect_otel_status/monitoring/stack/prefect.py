"""How Prefect's server passes its events on: within itself, or through Redis."""

from __future__ import annotations

from collections.abc import Mapping

from prefect_otel_status.monitoring.stack.document import HEAD

_REDIS = {
    "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
    "PREFECT_REDIS_MESSAGING_HOST": "redis",
    "PREFECT_REDIS_MESSAGING_PORT": "6379",
    "PREFECT_SERVER_DOCKET_URL": "redis://redis:6379/1",
}


def files() -> dict[str, str]:
    """The files by their paths."""
    return {
        "prefect/single.env": _env("One server: its events stay within its own process.", {}),
        "prefect/ha.env": _env(
            "Events through Redis. The official image has `prefect-redis`; else: `prefect[redis]`.",
            _REDIS,
        ),
    }


def _env(about: str, variables: Mapping[str, str]) -> str:
    lines = [f"# {HEAD}", f"# {about}", *[f"{name}={text}" for name, text in variables.items()]]
    return "\n".join([*lines, ""])
