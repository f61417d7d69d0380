"""The lock that keeps two deployments from replaying their requests at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

NAME = "canary.lock"


class ReplayBusyError(RuntimeError):
    """Another deployment is replaying its requests. Worth another try."""


@contextmanager
def replay_lock(home: Path) -> Iterator[None]:
    """Keep other deployments from replaying in HOME; the lock's file tells our process id.

    Raises `ReplayBusyError` where another one holds it.
    """
    with (home / NAME).open("a+") as file:
        # A lock of the kernel's, not the mere presence of a file, because it goes
        # away with a process that is killed.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReplayBusyError(f"Another deployment holds {NAME}") from None
        _write(file, str(os.getpid()))
        try:
            yield
        finally:
            _write(file, "")


def lock_holder(home: Path) -> int | None:
    """The id of the process that is replaying in HOME, as it noted it; None where there is none.

    One that was killed could not take its note back.
    """
    with suppress(FileNotFoundError, ValueError):
        return int((home / NAME).read_text())
    return None


def _write(file: TextIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
