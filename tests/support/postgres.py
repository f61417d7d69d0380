"""A real PostgreSQL in a folder of its own, with nothing in it and nobody else on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.processes import end, program
from tests.support.server import free_port, wait_for

_DEBIAN = Path("/usr/lib/postgresql")


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a new cluster in FOLDER and stop it at the end; gives the address of its database.

    Run by root, FOLDER is handed to the user `postgres`, who must be able to
    reach it: pytest's own temporary folders are closed to others. Its path must
    be short, for the socket's path may have no more than 107 characters.
    """
    _make_cluster(folder)
    port = free_port()
    process = _start(folder, port)
    try:
        wait_for(lambda: _answers(port, process), timeout=60, what="PostgreSQL")
        yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/postgres"
    finally:
        end(process, signal.SIGINT)  # its "fast" shutdown: clients are sent away


def new_database(url: str, name: str) -> str:
    """Create the empty database NAME in the cluster at URL; gives its address."""
    port = str(urlsplit(url).port)
    _run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "postgres", name)
    return f"{url.rpartition('/')[0]}/{name}"


def _make_cluster(folder: Path) -> None:
    if owner := _other_user().get("user"):
        shutil.chown(folder, owner)
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale")
    # It is synced when it runs; an empty cluster is soon made again.
    _run("initdb", "-D", str(folder / "data"), *options, "--no-sync", **_other_user())


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [_program("postgres"), "-D", str(folder / "data"), "-k", str(folder)]
    with (folder / "postgres.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port), "-c", "fsync=on"],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            **_other_user(),
        )


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "PostgreSQL ended while it started"
    command = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, check=False).returncode == 0


def _run(name: str, *arguments: str, **options: Any) -> None:
    command = [_program(name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stderr}"


def _program(name: str) -> str:
    # Debian keeps PostgreSQL's programs off the path, a folder a version.
    found = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else program(name)


def _other_user() -> dict[str, Any]:
    # PostgreSQL refuses to be run by root.
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}
