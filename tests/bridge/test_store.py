"""The store: on either database, kept to its owner, and never lost by a broken file."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Table, insert, select, text
from sqlalchemy.exc import OperationalError

from prefect_otel_status.bridge import recent, tables
from prefect_otel_status.bridge import store as store_module
from prefect_otel_status.bridge.catalogue import Catalogue, Known
from prefect_otel_status.bridge.recent import EndedRun, Said
from prefect_otel_status.bridge.store import Store, open_store, read_meta, write_meta
from prefect_otel_status.settings import ConfigurationError
from tests.support.core import rows_of
from tests.support.postgres import new_database
from tests.support.server import free_port

CURRENT = tables.SCHEMA_VERSION
NOW = 1_700_000_000_000_000_000
SECRET = "hunter22"
ANY_ID = "8d0dd0b6-f4a1-4d33-8f5c-0b2b6e2a0001"


async def meta_of(store: Store) -> dict[str, str]:
    return dict(await rows_of(store, tables.meta))


def insert_series(connection: Connection, metric: str = "m") -> None:
    values = {"metric": metric, "labels": "[]", "value": b"1", "shown": b"1", "stepped": 1}
    connection.execute(insert(tables.series).values(**values))


def insert_series_anew(connection: Connection) -> None:
    connection.execute(tables.series.delete())
    insert_series(connection)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- on either database --------------------------------------------------------


async def test_a_new_store_knows_its_schema_and_when_it_was_made(database: str) -> None:
    store = await open_store(database, now=NOW)
    assert await meta_of(store) == {"schema": str(CURRENT), "created": str(NOW)}
    await store.close()


async def test_bridges_that_start_at_once_on_an_empty_store_all_open_it(database: str) -> None:
    stores = await asyncio.gather(*(open_store(database, now=NOW) for _ in range(8)))
    found = [await meta_of(store) for store in stores]
    assert found == [{"schema": str(CURRENT), "created": str(NOW)}] * 8
    for store in stores:
        await store.close()


async def test_a_store_that_is_opened_again_is_as_it_was(database: str) -> None:
    first = await open_store(database, now=NOW)
    await first.run(insert_series)
    await first.close()
    again = await open_store(database, now=NOW + 1)
    assert await meta_of(again) == {"schema": str(CURRENT), "created": str(NOW)}
    assert len(await rows_of(again, tables.series)) == 1
    await again.close()


async def test_what_raises_leaves_nothing(store: Store) -> None:
    def work(connection: Connection) -> None:
        insert_series(connection)
        write_meta(connection, "swept_until", "1")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await store.run(work)
    assert await rows_of(store, tables.series) == []
    assert "swept_until" not in await meta_of(store)


async def test_meta_is_written_over(store: Store) -> None:
    await store.run(lambda connection: write_meta(connection, "swept_until", "1"))
    await store.run(lambda connection: write_meta(connection, "swept_until", "2"))
    assert await store.read(lambda connection: read_meta(connection, "swept_until")) == "2"
    assert await store.read(lambda connection: read_meta(connection, "nothing")) is None


async def test_transactions_that_write_come_one_after_the_other(store: Store) -> None:
    await store.run(lambda connection: write_meta(connection, "count", "0"))

    def count(connection: Connection) -> None:
        write_meta(connection, "count", str(int(read_meta(connection, "count") or 0) + 1))

    await asyncio.gather(*(store.run(count) for _ in range(20)))
    assert (await meta_of(store))["count"] == "20"


async def test_a_transaction_that_is_cancelled_keeps_nobody_waiting(store: Store) -> None:
    begun = threading.Event()

    def slow(connection: Connection) -> None:
        for number in range(20):
            write_meta(connection, f"name {number}", "value")
            begun.set()

    async def cut_off(job: Callable[..., Coroutine[Any, Any, Any]], work: Any) -> None:
        begun.clear()
        task = asyncio.create_task(job(work))
        while not (begun.is_set() or task.done()):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def look(connection: Connection) -> None:
        begun.set()
        read_meta(connection, "schema")

    for _ in range(20):
        await cut_off(store.run, slow)
        await cut_off(store.read, look)
        # At once, and not after the half minute for which SQLite waits.
        await asyncio.wait_for(store.run(insert_series_anew), 10)
    found = dict(await rows_of(store, tables.meta))
    assert {f"name {number}" for number in range(20)} <= found.keys()


async def test_a_transaction_that_fails_when_it_was_cancelled_is_cancelled(store: Store) -> None:
    begun = asyncio.Event()

    def broken(connection: Connection) -> None:
        begun.set()
        read_meta(connection, "schema")
        raise RuntimeError("in the middle")

    task = asyncio.create_task(store.run(broken))
    await begun.wait()
    task.cancel()
    with pytest.raises((asyncio.CancelledError, RuntimeError)):
        await task
    await asyncio.wait_for(store.run(insert_series_anew), 10)


async def test_a_read_works_beside_a_transaction_that_writes(database: str) -> None:
    store, other = [await open_store(database, now=NOW) for _ in range(2)]
    async with store._engine.begin() as writing:
        await writing.run_sync(insert_series)
        assert await rows_of(store, tables.series) == []
        assert await rows_of(other, tables.series) == []
    assert len(await rows_of(other, tables.series)) == 1
    await store.close()
    await other.close()


async def test_a_store_of_a_later_release_is_refused(database: str) -> None:
    store = await open_store(database, now=NOW)
    await store.run(lambda connection: write_meta(connection, "schema", "7"))
    await store.close()
    with pytest.raises(ConfigurationError) as refused:
        await open_store(database, now=NOW)
    assert str(refused.value) == (
        f"The store has schema 7, of a later release; this one knows {CURRENT}. "
        "Upgrade prefect-otel-status, or use another store."
    )


def adding(name: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        before = read_meta(connection, "schema")
        connection.execute(text(f"CREATE TABLE {name} (n INTEGER)"))
        connection.execute(text(f"INSERT INTO {name} VALUES ({before})"))

    return work


def as_in_version_1(connection: Connection) -> None:
    """The store as it was before deployments kept their last status, with one in it."""
    for column in ("said_at", "stage", "level", "template", "message"):
        connection.execute(text(f"ALTER TABLE deployments DROP COLUMN {column}"))
    connection.execute(
        text("INSERT INTO deployments VALUES ('train', 'prod', 'live', '', '', 1, 2, 0, '', '', 3)")
    )
    write_meta(connection, "schema", "1")


async def test_a_store_of_version_1_is_opened_with_what_it_knows(database: str) -> None:
    store = await open_store(database, now=NOW)
    await store.run(as_in_version_1)
    await store.close()
    store = await open_store(database, now=NOW)
    catalogue = Catalogue()
    await store.read(catalogue.load)
    known = Known("train", "prod", "live", last_success=1, last_seen=2, last_ended=3)
    assert catalogue.all() == [known]
    said = msgspec.structs.replace(known, said_at=4, stage="a", level="b", template="c")
    await store.run(lambda connection: catalogue.write(connection, [said]))
    await store.read(catalogue.load)
    assert catalogue.all() == [said]
    await store.close()


async def test_a_store_of_version_2_keeps_the_last_runs_from_now_on(database: str) -> None:
    store = await open_store(database, now=NOW)
    await store.run(as_in_version_2)
    await store.close()
    store = await open_store(database, now=NOW)
    assert await meta_of(store) == {"schema": str(CURRENT), "created": str(NOW)}
    ended = EndedRun("run-1", flow="train", deployment="prod", said=(Said(NOW, "Done"),))
    await store.run(lambda connection: recent.keep(connection, [ended]))
    found = await store.read(lambda connection: recent.load_of(connection, ("train", "prod")))
    assert found == [ended]
    await store.close()


def as_in_version_2(connection: Connection) -> None:
    """The store as it was before runs were kept."""
    tables.recent.drop(connection)
    write_meta(connection, "schema", "2")


async def test_an_earlier_store_is_brought_up_to_date_step_by_step(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_store(database, now=NOW)).close()
    monkeypatch.setattr(tables, "SCHEMA_VERSION", CURRENT + 2)
    monkeypatch.setattr(
        store_module, "MIGRATIONS", {CURRENT: adding("second"), CURRENT + 1: adding("third")}
    )
    for _ in range(2):  # once is enough
        store = await open_store(database, now=NOW)
        assert await meta_of(store) == {"schema": str(CURRENT + 2), "created": str(NOW)}
        for name, before in (("second", CURRENT), ("third", CURRENT + 1)):
            query = text(f"SELECT n FROM {name}")
            found = await store.read(
                lambda connection, q=query: connection.execute(q).scalars().all()
            )  # type: ignore[misc]
            assert found == [before]
        await store.close()


async def test_a_migration_that_fails_leaves_the_store_as_it_was(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_store(database, now=NOW)).close()

    def broken(connection: Connection) -> None:
        raise ConfigurationError("cannot be done")

    monkeypatch.setattr(tables, "SCHEMA_VERSION", CURRENT + 2)
    monkeypatch.setattr(
        store_module, "MIGRATIONS", {CURRENT: adding("second"), CURRENT + 1: broken}
    )
    with pytest.raises(ConfigurationError, match="cannot be done"):
        await open_store(database, now=NOW)
    monkeypatch.setattr(tables, "SCHEMA_VERSION", CURRENT)
    store = await open_store(database, now=NOW)
    assert await meta_of(store) == {"schema": str(CURRENT), "created": str(NOW)}
    with pytest.raises(Exception, match="second"):
        await store.read(lambda connection: connection.execute(text("SELECT n FROM second")))
    await store.close()


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)
async def test_every_table_can_be_read(store: Store, table: Table) -> None:
    assert await store.read(lambda connection: connection.execute(select(table)).all()) is not None


# --- SQLite ---------------------------------------------------------------------


async def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state" / "bridge.db"
    store = await open_store(str(path), now=NOW)
    await store.run(insert_series)
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert {mode_of(part) for part in path.parent.iterdir()} == {0o600}
    await store.close()


async def test_a_commit_is_on_the_disk_before_it_returns(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "bridge.db"), now=NOW)

    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "busy_timeout")
        return [connection.execute(text(f"PRAGMA {name}")).scalar() for name in names]

    for ask in (store.run, store.read):
        assert await ask(pragmas) == ["wal", 2, 30000]  # 2 is FULL
    await store.close()


async def test_a_path_may_hold_what_means_something_in_an_address(tmp_path: Path) -> None:
    path = tmp_path / "50% of a?b#c" / "bridge.db"
    store = await open_store(str(path), now=NOW)
    await store.close()
    assert path.exists()
    assert list(tmp_path.iterdir()) == [path.parent]


async def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = await open_store("~/bridge.db", now=NOW)
    assert store.path == tmp_path / "bridge.db"
    await store.close()


async def test_the_size_is_that_of_the_file_and_its_log(tmp_path: Path) -> None:
    path = tmp_path / "bridge.db"
    store = await open_store(str(path), now=NOW)
    wal = path.with_name("bridge.db-wal")
    assert store.size() == path.stat().st_size + wal.stat().st_size > 0
    await store.close()
    path.unlink()
    assert store.size() == 0


async def _damaged(path: Path, *, damage: str) -> None:
    store = await open_store(str(path), now=NOW)
    for number in range(300):
        await store.run(lambda connection, n=number: insert_series(connection, f"m{n}"))  # type: ignore[misc]
    await store.close()
    whole = path.read_bytes()
    if damage == "torn":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "overwritten":
        path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    else:
        path.write_bytes(b"this is no database" * 1000)


@pytest.mark.parametrize("damage", ["torn", "overwritten", "no database"])
@pytest.mark.fault(8)
async def test_a_damaged_file_is_set_aside_and_a_new_one_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "bridge.db"
    await _damaged(path, damage=damage)
    broken = path.read_bytes()
    caplog.set_level(logging.INFO, logger="prefect_otel_status.bridge")
    store = await open_store(str(path), now=NOW)
    aside = tmp_path / "bridge.db.damaged-1700000000"
    assert caplog.messages == [
        f"The store {path} is damaged. It was set aside as {aside}; a new one begins."
    ]
    assert aside.read_bytes() == broken
    assert await meta_of(store) == {"schema": str(CURRENT), "created": str(NOW)}
    assert await rows_of(store, tables.series) == []
    assert mode_of(path) == 0o600
    await store.close()


async def test_a_file_that_another_has_locked_is_not_taken_for_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bridge.db"
    await (await open_store(str(path), now=NOW)).close()

    def locked(connection: Connection, now: int) -> None:
        raise OperationalError("BEGIN", {}, sqlite3.OperationalError("database is locked"))

    monkeypatch.setattr(store_module, "prepare", locked)
    with pytest.raises(ConfigurationError) as refused:
        await open_store(str(path), now=NOW)
    assert str(refused.value) == (
        f"The store {path} cannot be used: database is locked. Name another with --store."
    )
    assert [found.name for found in tmp_path.iterdir() if "damaged" in found.name] == []


async def test_a_store_is_opened_while_a_bridge_writes_to_it_in_the_same_moment(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "bridge.db")
    busy = await open_store(path, now=NOW)
    async with busy._engine.begin() as writing:
        await writing.run_sync(insert_series)
        opening = asyncio.create_task(open_store(path, now=NOW))
        await asyncio.sleep(0)
    other = await opening
    assert len(await rows_of(other, tables.series)) == 1
    await busy.close()
    await other.close()


# --- bad addresses ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql://admin:hunter22@db/bridge", "The store cannot be mysql; use a path for SQLite"),
        ("sqlite:///hunter22.db", "The store cannot be sqlite; use a path for SQLite"),
        ("postgresql+psycopg2://a:hunter22@db/b", "The store cannot be postgresql+psycopg2;"),
        ("postgresql://a:hunter22@db:port/b", "The store is no address that can be read"),
        ("://a:hunter22@db/b", "The store is no address that can be read"),
    ],
)
async def test_an_address_that_cannot_be_used_is_refused_without_its_password(
    address: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await open_store(address, now=NOW)
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
async def test_a_server_that_is_not_there_is_named_without_the_password(scheme: str) -> None:
    port = free_port()
    with pytest.raises(ConfigurationError) as refused:
        await open_store(f"{scheme}://bridge:{SECRET}@127.0.0.1:{port}/state", now=NOW)
    assert str(refused.value).startswith(f"The store at 127.0.0.1:{port}/state cannot be used: ")
    assert SECRET not in str(refused.value)


async def test_a_database_that_is_not_there_is_named_without_the_password(
    postgres_url: str,
) -> None:
    cluster = postgres_url.rpartition("/")[0].replace("postgres@", f"postgres:{SECRET}@")
    with pytest.raises(ConfigurationError) as refused:
        await open_store(f"{cluster}/nowhere", now=NOW)
    assert 'database "nowhere" does not exist' in str(refused.value)
    assert SECRET not in str(refused.value)


async def test_on_postgres_the_size_is_not_known(postgres_url: str) -> None:
    address = new_database(postgres_url, "of_no_known_size")
    store = await open_store(address.replace("+asyncpg", ""), now=NOW)
    assert (store.size(), store.path) == (0, None)
    await store.close()


def in_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "bridge.db"


def a_folder(folder: Path) -> Path:
    (folder / "bridge.db").mkdir()
    return folder / "bridge.db"


def below_proc(folder: Path) -> Path:
    return Path("/proc/prefect-otel-status/bridge.db")


@pytest.mark.parametrize("make", [in_a_file, a_folder, below_proc])
async def test_a_path_that_cannot_be_written_is_refused(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        await open_store(str(path), now=NOW)
    assert str(refused.value).startswith(f"The store {path} cannot be written: ")
    assert str(refused.value).endswith(". Name another with --store.")


async def test_a_folder_that_is_read_only_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)  # root may write everywhere; nobody may not
    try:
        with pytest.raises(ConfigurationError, match="Permission denied"):
            await open_store(str(tmp_path / "bridge.db"), now=NOW)
    finally:
        os.seteuid(before)
