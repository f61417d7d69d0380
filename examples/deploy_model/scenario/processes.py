"""Processes of the demo: each in a group of its own, so that none of them outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_TAIL = 15


class DemoError(Exception):
    """The demo cannot go on: one sentence, and the log that tells more."""

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log

    def tail(self) -> str:
        """The last lines of the log; empty without one."""
        if self.log is None or not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])


class Process:
    """A Python process that writes to a log, with all that it starts itself."""

    def __init__(
        self, name: str, arguments: Iterable[str], *, env: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.log = folder / f"{name.replace(' ', '-')}.log"
        with self.log.open("wb") as log:
            self._popen = subprocess.Popen(
                [sys.executable, *arguments],
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the demo, which stops the others in their order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise `DemoError` if it has ended."""
        code = self._popen.poll()
        if code is not None:
            raise DemoError(f"The {self.name} ended with exit code {code}.", self.log)

    def stop(self, *, seconds: float = 10) -> None:
        """Ask it to end, and kill what is left of its group after SECONDS. Safe to repeat."""
        if self._popen.poll() is None:
            self._popen.terminate()
            _until(lambda: self._popen.poll() is not None, seconds)
        if self.is_group_alive():
            os.killpg(self._popen.pid, signal.SIGKILL)
            _until(lambda: not self.is_group_alive(), seconds)

    def is_group_alive(self) -> bool:
        """Whether it, or any process that it started, still runs."""
        self._popen.poll()  # a process that nobody has asked about still counts
        try:
            os.killpg(self._popen.pid, 0)
        except ProcessLookupError:
            return False
        return True


def wait_until(
    what: str, condition: Callable[[], object], *, seconds: float, needs: Iterable[Process] = ()
) -> None:
    """Wait until CONDITION holds, while the processes that it NEEDS run.

    Raises `DemoError` where one of them ends, or after SECONDS; WHAT then tells
    what was awaited.
    """
    needed = list(needs)

    def holds() -> bool:
        for process in needed:
            process.check()
        return bool(condition())

    if not _until(holds, seconds):
        log = needed[-1].log if needed else None
        raise DemoError(f"{what} did not happen within {seconds:g} s.", log)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return holds


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
