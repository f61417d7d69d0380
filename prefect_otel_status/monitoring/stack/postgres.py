"""What Postgres runs when its volume is empty: a database for the bridge, beside Prefect's."""

from __future__ import annotations

from inspect import cleandoc

from prefect_otel_status.monitoring.stack.document import HEAD


def files() -> dict[str, str]:
    """The file by its path."""
    return {"postgres/bridge.sql": f"-- {HEAD}\n{_bridge()}\n"}


def _bridge() -> str:
    return cleandoc(r"""
        -- A role that owns its database and sees nothing of Prefect's.
        \getenv password POSTGRES_PASSWORD
        CREATE ROLE bridge LOGIN PASSWORD :'password';
        CREATE DATABASE bridge OWNER bridge;
        REVOKE CONNECT ON DATABASE prefect FROM PUBLIC;
    """)
