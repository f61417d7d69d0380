"""Calls to Prefect's API that the flow must not wait for: labels, artifacts, names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue

from prefect_otel_status.tally import Tally

_IDLE = 5.0


class Background:
    """Runs calls one after the other on a daemon thread, which ends when it has nothing to do.

    Beyond CAPACITY waiting calls, further ones are dropped and counted. What a
    call raises is counted.
    """

    def __init__(self, *, tally: Tally, capacity: int = 1000) -> None:
        self._tally = tally
        self._capacity = capacity
        self.after_fork()

    def submit(self, place: str, call: Callable[[], object], context: Context | None) -> None:
        """Run CALL soon, in CONTEXT where one is given. PLACE names it if it fails. Never waits."""
        if self._queue.qsize() >= self._capacity:
            self._tally.dropped(f"{place}_backlog")
            return
        self._put(place, call, context)

    def _put(self, place: str, call: Callable[[], object], context: Context | None) -> None:
        with self._lock:  # held for an instant only, by the thread when it ends
            self._queue.put((place, call, context))
            self._start()

    def flush(self, timeout: float) -> bool:
        """Wait at most TIMEOUT seconds for the calls so far; tell whether they are done."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._put("flush", done.set, None)
        return done.wait(timeout)

    def after_fork(self) -> None:
        """Begin anew in the child."""
        self._queue: SimpleQueue[tuple[str, Callable[[], object], Context | None]] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may submit while we do
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="prefect-otel-status-api", daemon=True)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError as error:  # no threads at exit
            self._tally.failed("background", error)

    def _run(self) -> None:
        while True:
            try:
                place, call, context = self._queue.get(timeout=_IDLE)
            except Empty:
                if self._may_end():
                    return
                continue
            try:
                context.copy().run(call) if context is not None else call()
            except BaseException as error:  # SystemExit too: this thread must go on
                self._tally.failed(place, error)

    def _may_end(self) -> bool:
        with self._lock:
            if self._queue.empty():
                self._thread = None
                return True
            return False
