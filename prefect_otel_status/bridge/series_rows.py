"""Series as rows of the store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from prefect_otel_status.bridge.folding import Labels
from prefect_otel_status.bridge.staging import Key, metrics_by_name
from prefect_otel_status.bridge.tables import series as table
from prefect_otel_status.bridge.values import Series, decode, encode

logger = logging.getLogger("prefect_otel_status.bridge")


def read(conn: Connection) -> Iterator[tuple[Key, Series]]:
    """The stored series. What another version of ours counted otherwise is left alone."""
    metrics = metrics_by_name()
    for row in conn.execute(select(table)):
        metric = metrics.get(row.metric)
        if metric is None:
            continue
        value, shown = decode(metric, row.value), decode(metric, row.shown)
        if value is None or shown is None:
            logger.warning("The bounds of %s have changed: a series begins anew", metric.name)
            continue
        labels = tuple(msgspec.json.decode(row.labels, type=list[str]))
        yield (metric.name, labels), Series(value, shown, row.stepped)


def upsert(conn: Connection, rows: Mapping[Key, Series]) -> None:
    """Write ROWS over what the store has of them."""
    dialect: Any = postgresql if conn.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=[table.c.metric, table.c.labels],
        set_={name: statement.excluded[name] for name in ("value", "shown", "stepped")},
    )
    conn.execute(statement, [_row(key, series) for key, series in rows.items()])


def remove(conn: Connection, keys: Iterable[Key]) -> None:
    """Take the series KEYS out of the store."""
    metric: Any = bindparam("of")
    labels: Any = bindparam("with")
    statement = delete(table).where(table.c.metric == metric, table.c.labels == labels)
    conn.execute(statement, [{"of": name, "with": _text(labels)} for name, labels in keys])


def _row(key: Key, series: Series) -> dict[str, Any]:
    return {
        "metric": key[0],
        "labels": _text(key[1]),
        "value": encode(series.value),
        "shown": encode(series.shown),
        "stepped": series.stepped,
    }


def _text(labels: Labels) -> str:
    return msgspec.json.encode(labels).decode()
