"""The tables of the store, for SQLite and Postgres alike."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 3

metadata = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only an INTEGER

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""Schema version, time of creation, how far the sweep has come."""

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
"""One row: who works, and a number that goes up while they live."""

runs = Table(
    "runs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("phase", String(8), nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("flow", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("state_type", String(16), nullable=False),
    Column("state_name", Text, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("said_at", BigInteger, nullable=False),
    Column("stage", Text, nullable=False),
    Column("progress", Float),
    Column("body", LargeBinary, nullable=False),
    Column("seen_keys", LargeBinary),
    Index("runs_by_phase", "phase", "due"),
)
"""One row a run: what gauges and work lists need as columns, the rest as JSON."""

facts = Table(
    "facts",
    metadata,
    Column("run_id", String(36), primary_key=True),
    Column("subject_id", String(36), primary_key=True),
    Column("key", String(120), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    # The primary key is the table on SQLite: no second copy of it as an index.
    sqlite_with_rowid=False,
)
"""What was read of the runs that are not settled. The primary key keeps out what is known."""

series = Table(
    "series",
    metadata,
    Column("metric", String(80), primary_key=True),
    Column("labels", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("shown", LargeBinary, nullable=False),
    Column("stepped", BigInteger, nullable=False),
)
"""Counters and histograms: their true value, and the one that a scrape may see already."""

deployments = Table(
    "deployments",
    metadata,
    Column("flow", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("last_success", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("interval", Float, nullable=False),
    Column("last_result", String(16), nullable=False),
    Column("last_run_id", String(36), nullable=False),
    Column("last_ended", BigInteger, nullable=False),
    Column("said_at", BigInteger, nullable=False, server_default="0"),
    Column("stage", Text, nullable=False, server_default=""),
    Column("level", Text, nullable=False, server_default=""),
    Column("template", Text, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
)
"""What is known of each deployment beyond its runs."""

recent = Table(
    "recent",
    metadata,
    Column("run_id", String(36), primary_key=True),
    Column("flow", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("said", LargeBinary, nullable=False),
    Index("recent_by_deployment", "flow", "deployment", "ended"),
)
"""The last runs of each deployment that have ended: for a look, counters do not follow from it.

What they said is apart: the overview reads all runs, and needs none of that.
"""

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("signal", String(8), nullable=False),
    Column("terminal", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("set_aside", Text),
    Column("name", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("outbox_by_state", "set_aside", "id", "signal", "size"),
)
"""Frozen OTLP bytes, until the receiver confirms them. `set_aside` says why it was refused."""
