"""Where the bridge keeps what must survive it: SQLite by default, Postgres by address."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, event, func, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from prefect_otel_status.bridge import tables
from prefect_otel_status.settings import ConfigurationError

logger = logging.getLogger("prefect_otel_status.bridge")

T = TypeVar("T")

POSTGRES = "postgresql+asyncpg"


class Store:
    """One database, written by one transaction at a time.

    `run` calls a function with a connection, in a transaction that is committed
    if it returns and rolled back if it raises.
    """

    def __init__(self, engine: AsyncEngine, *, path: Path | None = None) -> None:
        self._engine = engine
        self._reader = engine.execution_options(read_only=True)
        self._lock = asyncio.Lock()
        self.path = path

    async def run(self, work: Callable[[Connection], T]) -> T:
        """The result of WORK, once it is committed."""
        async with self._lock:
            return await _to_its_end(self._write(work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """The result of WORK, which only reads; beside a transaction that writes."""
        return await _to_its_end(self._read(work))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        async with self._reader.connect() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()

    def size(self) -> int:
        """Bytes of the database on disk; 0 where that cannot be known from here."""
        if self.path is None:
            return 0
        parts = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of WORK, which ends before this does, also where this is cancelled.

    Cut off in the middle, a connection can keep its transaction open, and with
    it every other one waiting.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Its own failure has nobody to go to any more.
        await asyncio.gather(task, return_exceptions=True)
        raise


async def open_store(address: str, *, now: int) -> Store:
    """The store at ADDRESS, a path or `postgresql+asyncpg://...`, made or brought up to date.

    A file that is no database, or is torn, is set aside with its name in the
    log. Raises `ConfigurationError` for an address that cannot be used.
    """
    if "://" in address:
        return await _open_postgres(address, now)
    path = Path(address).expanduser()
    _prepare_folder(path)
    try:
        return await _open_sqlite(path, now)
    except (DatabaseError, sqlite3.DatabaseError) as error:
        if not _is_torn(error):
            raise ConfigurationError(
                f"The store {path} cannot be used: {_words_of(error)}. Name another with --store."
            ) from None
        _set_aside(path, now)
        return await _open_sqlite(path, now)


async def _open_postgres(address: str, now: int) -> Store:
    url = _postgres_url(address)
    store = Store(create_async_engine(url, pool_pre_ping=True, pool_size=4))
    try:
        await store.run(lambda connection: prepare(connection, now))
    except BaseException as error:
        await store.close()
        if isinstance(error, ConfigurationError) or not isinstance(error, Exception):
            raise
        where = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"
        raise ConfigurationError(
            f"The store at {where} cannot be used: {_words_of(error)}."
        ) from None
    return store


def _postgres_url(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise ConfigurationError(
            f"The store is no address that can be read; use a path or {POSTGRES}://user@host/name."
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername=POSTGRES)
    if url.drivername != POSTGRES:
        raise ConfigurationError(
            f"The store cannot be {url.drivername}; use a path for SQLite, or {POSTGRES}://..."
        )
    return url


async def _open_sqlite(path: Path, now: int) -> Store:
    # Not as text: a path may hold what means something else in an address.
    url = URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(url, connect_args={"timeout": 30})
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    store = Store(engine, path=path)
    try:
        await store.read(check_sqlite)  # another bridge may be at work on it
        await store.run(lambda connection: prepare(connection, now))
    except BaseException:
        await store.close()
        raise
    return store


def _set_pragmas(connection: Any, _: object) -> None:
    # Ours to begin: the driver's own BEGIN is deferred, and would let a second
    # writer fail in the middle instead of wait at the start.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    reads = connection.get_execution_options().get("read_only")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def check_sqlite(connection: Connection) -> None:
    """Raise `DatabaseError` where the file is damaged."""
    found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if found != "ok":
        raise sqlite3.DatabaseError("file is not a database: " + str(found)[:200])


_MAKING = 0x707265666F746C73
"""The lock of whoever makes the tables; a number that nobody else in the database takes."""


def prepare(connection: Connection, now: int) -> None:
    """Make the tables, or bring those of an earlier release up to date.

    Of two bridges that start at once the second waits, and finds them made.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(_MAKING)))
    tables.metadata.create_all(connection)
    version = read_meta(connection, "schema")
    if version is None:
        write_meta(connection, "schema", str(tables.SCHEMA_VERSION))
        write_meta(connection, "created", str(now))
    elif int(version) > tables.SCHEMA_VERSION:
        raise ConfigurationError(
            f"The store has schema {version}, of a later release; this one knows "
            f"{tables.SCHEMA_VERSION}. Upgrade prefect-otel-status, or use another store."
        )
    else:
        migrate(connection, int(version))


def migrate(connection: Connection, version: int) -> None:
    """Bring the tables from VERSION to the current one, a step at a time."""
    for step in range(version, tables.SCHEMA_VERSION):
        MIGRATIONS[step](connection)
        write_meta(connection, "schema", str(step + 1))


def _with_last_statuses(connection: Connection) -> None:
    """Version 2: a deployment keeps the last status that its runs said."""
    for column in ("said_at BIGINT NOT NULL DEFAULT 0", *_TEXTS):
        connection.execute(text(f"ALTER TABLE deployments ADD COLUMN {column}"))


_TEXTS = [f"{name} TEXT NOT NULL DEFAULT ''" for name in ("stage", "level", "template", "message")]


def _with_recent_runs(connection: Connection) -> None:
    """Version 3: the last runs of each deployment are kept. The table was made with the rest."""


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: _with_last_statuses,
    2: _with_recent_runs,
}
"""What leads from a version of the schema to the next."""


def read_meta(connection: Connection, name: str) -> str | None:
    """The value of NAME in the table `meta`; None where there is none."""
    query = select(tables.meta.c.value).where(tables.meta.c.name == name)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def write_meta(connection: Connection, name: str, value: str) -> None:
    """Set NAME in the table `meta`."""
    changed = connection.execute(
        update(tables.meta).where(tables.meta.c.name == name).values(value=value)
    )
    if changed.rowcount == 0:
        connection.execute(insert(tables.meta).values(name=name, value=value))


def _words_of(error: BaseException) -> str:
    """What ERROR says, in a line; SQLAlchemy's own text would add the statement."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return (str(origin).strip() or type(origin).__name__).splitlines()[-1].rstrip(".")


def _is_torn(error: BaseException) -> bool:
    origin = error.orig if isinstance(error, DBAPIError) else error
    words = str(origin)
    return any(sign in words for sign in ("not a database", "malformed", "disk image"))


def _prepare_folder(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(handle)
    except OSError as error:
        raise ConfigurationError(
            f"The store {path} cannot be written: {error.strerror}. Name another with --store."
        ) from None


def _set_aside(path: Path, now: int) -> None:
    aside = path.with_name(f"{path.name}.damaged-{now // 1_000_000_000}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            os.replace(part, aside.with_name(aside.name + suffix))
    logger.error("The store %s is damaged. It was set aside as %s; a new one begins.", path, aside)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
