"""Processes of the demo: each in a group of its own, so that none of them outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_TAIL = 15
_POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
            _until(lambda: not self.is_group_alive(), seconds)

    def is_group_alive(self) -> bool:
        """Whether it, or any process that it started, still runs."""
        self._popen.poll()  # one that ended counts as running until somebody asks
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


def stop_all(processes: Iterable[Process]) -> None:
    """Stop PROCESSES in their order. Raises `DemoError` if any of their groups is left."""
    stopped = list(processes)
    for process in stopped:
        process.stop()
    left = [process.name for process in stopped if process.is_group_alive()]
    if left:
        raise DemoError(f"Processes of the {' and of the '.join(left)} could not be stopped.")


@contextmanager
def interruptible() -> Iterator[None]:
    """Have every polite signal end what is done inside as Ctrl-C does: by way of its clean-up."""
    with _handled(_POLITE, signal.default_int_handler):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let what is done inside end: it is bounded, and half of it would leave processes behind."""
    with _handled(_POLITE, signal.SIG_IGN):
        yield


@contextmanager
def _handled(numbers: Iterable[signal.Signals], handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


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
