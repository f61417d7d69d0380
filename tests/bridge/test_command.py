"""The command `bridge`: exit codes, what was set aside, how it logs, how it is stopped."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_otel_status.bridge import command, outbox
from prefect_otel_status.bridge.command import JsonLines, Progress, log_to_stderr
from prefect_otel_status.bridge.connection import RequestRefused, ServerUnavailable, Unauthorized
from prefect_otel_status.bridge.health import Check, Health
from prefect_otel_status.bridge.http import make_app
from prefect_otel_status.bridge.lease import LeaseLostError
from prefect_otel_status.bridge.outbox import Cap, OutboxItem
from prefect_otel_status.bridge.store import open_store
from prefect_otel_status.settings import ConfigurationError, Settings
from tests.support.records import NOW
from tests.support.server import free_port

LOG = "prefect_otel_status.bridge"


class Once:
    """A bridge of which a single pass ends as it is told."""

    def __init__(self, result: int | Exception, trouble: str = "") -> None:
        self._result = result
        self._trouble = trouble

    async def once(self) -> int:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    def health(self) -> Health:
        return Health(export=Check(0, self._trouble))


def use(monkeypatch: pytest.MonkeyPatch, one: Any) -> None:
    """Let the command work with the bridge ONE."""

    @asynccontextmanager
    async def bridge(settings: Settings, **options: Any) -> AsyncIterator[Any]:
        yield one

    monkeypatch.setattr(command, "bridge", bridge)


# --- once --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "trouble", "code", "said"),
    [
        (0, "", 0, []),
        (3, "It takes nothing.", 1, ["Not all could be delivered: It takes nothing."]),
        (1, "", 1, ["Not all could be delivered: try again"]),
        (ServerUnavailable("It is away."), "", 3, ["It is away."]),
        (Unauthorized("It says no."), "", 3, ["It says no."]),
        (RequestRefused("It answered 404.", status=404), "", 3, ["It answered 404."]),
        (
            LeaseLostError(),
            "",
            1,
            ["Another bridge works on this store; there is nothing to do."],
        ),
    ],
)
async def test_the_exit_code_of_a_single_pass_says_how_it_went(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    result: int | Exception,
    trouble: str,
    code: int,
    said: list[str],
) -> None:
    use(monkeypatch, Once(result, trouble))
    assert await command.run_once(Settings()) == code
    assert caplog.messages == said
    assert all(record.exc_info is None for record in caplog.records)


# --- for ever --------------------------------------------------------------------------------


class Forever:
    """A bridge that works until it is told to stop."""

    def __init__(self) -> None:
        self.runs = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        self.runs.set()
        await stop.wait()


async def _no_metrics(*, openmetrics: bool) -> bytes:
    return b""


async def _nothing(*_: Any) -> Any:
    return []


def _pages(*_: Any, **__: Any) -> Any:
    return make_app(
        metrics=_no_metrics,
        health=Health,
        deployments=_nothing,
        run=_nothing,
        allowed_hosts={"127.0.0.1"},
    )


@pytest.fixture
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_runs_with_its_pages_until_a_signal_comes(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    signals_as_before: None,
    number: signal.Signals,
) -> None:
    caplog.set_level(logging.INFO, logger=LOG)
    one = Forever()
    use(monkeypatch, one)
    monkeypatch.setattr(command, "app_of", _pages)
    port = free_port()
    task = asyncio.create_task(command.run_forever(Settings(listen=f"127.0.0.1:{port}")))
    await asyncio.wait_for(one.runs.wait(), 20)
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).text == "ok\n"
    os.kill(os.getpid(), number)
    assert await asyncio.wait_for(task, 20) == 0
    at = f"http://127.0.0.1:{port}"
    assert caplog.messages == [
        f"Deployments are shown at {at}, metrics are at {at}/metrics.",
        "The bridge has stopped.",
    ]


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("127.0.0.1:70000", "'127.0.0.1:70000' has no port from 0 to 65535"),
        ("nowhere", "'nowhere' has no port from 0 to 65535"),
        ("0.0.0.0:9464", "0.0.0.0:9464 can be reached from other machines"),
    ],
)
async def test_an_address_that_cannot_be_listened_on_is_refused_before_anything_is_made(
    tmp_path: Path, listen: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words.replace(".", r"\.")):
        await command.run_forever(Settings(folder=tmp_path, listen=listen))
    assert list(tmp_path.iterdir()) == []


async def test_a_port_that_another_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, signals_as_before: None
) -> None:
    use(monkeypatch, Forever())
    monkeypatch.setattr(command, "app_of", _pages)
    other = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    with pytest.raises(ConfigurationError, match="another program listens there"):
        await command.run_forever(Settings(listen=f"127.0.0.1:{port}"))
    other.close()
    await other.wait_closed()


# --- what was set aside -----------------------------------------------------------------------


async def filled(folder: Path) -> Settings:
    """A store in which two items were set aside, and one waits."""
    settings = Settings(folder=folder)
    store = await open_store(str(folder / "bridge.db"), now=NOW)
    items = [OutboxItem("traces", True, NOW, name, b"body") for name in "abc"]
    await store.run(lambda connection: outbox.put(connection, items, cap=Cap(), now=NOW))
    await store.run(
        lambda connection: outbox.set_aside(connection, [1, 2], "HTTP 400: bad", cap=Cap())
    )
    await store.close()
    return settings


@pytest.mark.fault(34)
async def test_what_was_set_aside_is_listed_and_stays(tmp_path: Path) -> None:
    settings = await filled(tmp_path)
    for _ in range(2):
        found = await command.set_aside(settings, release=False)
        assert [(item.id, item.name, item.reason) for item in found] == [
            (1, "a", "HTTP 400: bad"),
            (2, "b", "HTTP 400: bad"),
        ]


async def test_what_was_set_aside_is_put_back(tmp_path: Path) -> None:
    settings = await filled(tmp_path)
    assert len(await command.set_aside(settings, release=True)) == 2
    assert await command.set_aside(settings, release=False) == []
    store = await open_store(str(tmp_path / "bridge.db"), now=NOW)
    assert (await store.read(outbox.depth)).items == 3
    await store.close()


# --- progress -----------------------------------------------------------------------------------


def test_a_long_backfill_tells_how_far_it_has_come_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger=LOG)
    now = [0.0]
    progress = Progress(monotonic=lambda: now[0])
    for second in range(13):
        now[0] = float(second)
        progress(second * 200)
    assert caplog.messages == [
        "Reading Prefect's history: 1000 ended runs so far.",
        "Reading Prefect's history: 2000 ended runs so far.",
    ]


# --- the log --------------------------------------------------------------------------------------


@pytest.fixture
def log_as_before() -> Iterator[None]:
    names = (None, "prefect_otel_status", "httpx", "httpcore")
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    handlers = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = handlers
    for logger, level in before:
        logger.setLevel(level)


def record(message: str, *args: Any, **changes: Any) -> logging.LogRecord:
    found = logging.LogRecord(LOG, logging.WARNING, "path", 1, message, args, None)
    found.created = 1_700_000_000
    vars(found).update(changes)
    return found


@pytest.mark.parametrize("message", ["a %s", 'quote " and \\', "two\nlines", "\x1b[31mred", "ä🙂"])
def test_a_line_of_json_says_what_the_record_does(message: str) -> None:
    args = ("b",) if "%s" in message else ()
    line = JsonLines().format(record(message, *args))
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").startswith("2023-11-1")
    assert found == {
        "level": "WARNING",
        "logger": LOG,
        "message": message % args if args else message,
    }


def test_a_line_of_json_holds_the_error() -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        line = JsonLines().format(record("broken", exc_info=sys.exc_info()))
    found = json.loads(line)
    assert "\n" not in line
    assert found["error"].startswith("Traceback")
    assert found["error"].endswith("ValueError: odd")


def _said(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> list[str]:
    log_to_stderr(as_json=as_json)
    for name, say in _SAID:
        say(logging.getLogger(name))
    out, errors = capsys.readouterr()
    assert out == ""
    return errors.splitlines()


_SAID: list[tuple[str, Callable[[logging.Logger], None]]] = [
    (LOG, lambda logger: logger.info("ours")),
    (LOG, lambda logger: logger.debug("detail")),
    ("other", lambda logger: logger.info("chatter")),
    ("other", lambda logger: logger.warning("theirs")),
    ("httpx", lambda logger: logger.info("a request")),
]


def test_our_log_and_warnings_of_others_go_to_stderr(
    capsys: pytest.CaptureFixture[str], log_as_before: None
) -> None:
    lines = _said(capsys, as_json=False)
    assert [line.split(maxsplit=1)[1] for line in lines] == ["INFO    ours", "WARNING theirs"]


def test_the_log_is_json_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], log_as_before: None
) -> None:
    found = [json.loads(line) for line in _said(capsys, as_json=True)]
    assert [(line["level"], line["message"]) for line in found] == [
        ("INFO", "ours"),
        ("WARNING", "theirs"),
    ]
