"""The hand-over from the flow's threads to ours: a queue that never makes the flow wait."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from prefect_otel_status import signals
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.model import Status
from prefect_otel_status.sinks.base import Sink
from prefect_otel_status.tally import Tally

_BATCH = 512
_NANOSECONDS = 1_000_000_000
_LONGEST_WAIT = 3600.0


class _Barrier:
    """Marks a place in the queue: everything before it must be passed on."""

    def __init__(self, *, stop: bool = False) -> None:
        self.reached = threading.Event()
        self.stop = stop


class Recorder:
    """Takes records from any thread and gives them to the sinks on a thread of its own.

    `put` costs the caller about a microsecond and never waits. Beyond CAPACITY
    waiting records the detail of a status is dropped, and counted; its count
    is kept, so that totals stay exact. `interval` (seconds) is how long the
    thread lets records gather, which saves the flow from switching threads.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        tally: Tally,
        capacity: int = 10_000,
        interval: float = 0.02,
        clock: Callable[[], int] = time.time_ns,
        on_overflow: Callable[[Counter[Any]], None] | None = None,
    ) -> None:
        self._sinks = tuple(sinks)
        self._tally = tally
        self._capacity = capacity
        self._interval = interval
        self._clock = clock
        self._on_overflow = on_overflow
        self._thread: threading.Thread | None = None
        self._reset()

    def put(self, envelope: Envelope) -> None:
        """Queue ENVELOPE for the sinks. Never waits; safe in a signal handler."""
        if self._queue.qsize() >= self._capacity:
            self._overflow(envelope)
        else:
            self._queue.put(envelope)
        if self._thread is None:
            self._start()

    def flush(self, timeout: float) -> bool:
        """Wait at most TIMEOUT seconds until all records so far are passed on; tell whether."""
        return self._pass(_Barrier(), timeout)

    def nudge(self) -> None:
        """Have all records so far passed on soon, without waiting for it."""
        if self._thread is not None:
            self._queue.put(_Barrier())
            self._hurry.set()

    def stop(self, timeout: float) -> bool:
        """Pass on what is left, for at most TIMEOUT seconds, and end the thread."""
        return self._pass(_Barrier(stop=True), timeout)

    def after_fork(self) -> None:
        """Begin anew in the child: the thread and the records are the parent's."""
        self._thread = None
        self._reset()
        for sink in self._sinks:
            self._guard(sink.name, lambda sink=sink: sink.after_fork())  # type: ignore[misc]

    def _reset(self) -> None:
        self._queue: SimpleQueue[Envelope | _Barrier] = SimpleQueue()
        self._hurry = threading.Event()
        self._start_lock = threading.Lock()
        self._overflow_lock = threading.Lock()
        self._folded: Counter[Any] = Counter()
        self._late: deque[tuple[Any, ...]] = deque()

    def _pass(self, barrier: _Barrier, timeout: float) -> bool:
        if self._thread is threading.current_thread():
            return True
        if self._thread is None:
            if self._queue.empty():
                return True
            self._start()
        self._queue.put(barrier)
        self._hurry.set()
        return barrier.reached.wait(timeout)

    def _start(self) -> None:
        # A signal handler may come here while this very thread holds the lock.
        if not self._start_lock.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="prefect-otel-status", daemon=True)
                self._thread = thread
                thread.start()
        except RuntimeError as error:
            # No thread can be started while the interpreter exits.
            self._thread = None
            self._tally.failed("recorder", error)
        finally:
            self._start_lock.release()

    def _overflow(self, envelope: Envelope) -> None:
        record = envelope.record
        dear = not isinstance(record, Status) or record.is_error
        if dear and self._queue.qsize() < 10 * self._capacity:
            # Rare and dear: these are kept beyond the capacity, up to a point.
            self._queue.put(envelope)
            return
        self._tally.dropped("queue_full")
        if not isinstance(record, Status):
            return
        if self._overflow_lock.acquire(timeout=0.001):
            try:
                self._fold(_key_of(record))
            finally:
                self._overflow_lock.release()
        else:
            # A signal handler interrupted who holds it, or that thread got no time: appending
            # needs no lock, and the total must not miss one.
            self._late.append(_key_of(record))

    def _fold(self, key: tuple[Any, ...]) -> None:
        if key not in self._folded and len(self._folded) >= self._capacity:
            key = (None, None, key[2], None, None)
        self._folded[key] += 1

    def _take_folded(self) -> Counter[Any]:
        if not (self._folded or self._late):
            return Counter()
        with self._overflow_lock:
            for _ in range(len(self._late)):
                self._fold(self._late.popleft())
            folded, self._folded = self._folded, Counter()
        return folded

    def _run(self) -> None:
        due: int | None = None
        while True:
            batch, barriers = self._take(due)
            if batch:
                self._deliver(batch)
            if (folded := self._take_folded()) and self._on_overflow:
                self._guard("overflow", lambda counts=folded: self._on_overflow(counts))  # type: ignore[misc]
            if barriers:
                for sink in self._sinks:
                    self._guard(sink.name, sink.flush)
            due = self._tick()
            stopping = any(barrier.stop for barrier in barriers) and self._queue.empty()
            if stopping:
                self._thread = None
            if barriers:
                self._hurry.clear()
            for barrier in barriers:
                barrier.reached.set()
            if stopping:
                return
            if batch and not barriers:
                self._hurry.wait(self._interval)

    def _take(self, due: int | None) -> tuple[list[Envelope], list[_Barrier]]:
        batch: list[Envelope] = []
        barriers: list[_Barrier] = []
        try:
            item = self._queue.get(timeout=self._wait_for(due))
            while True:
                (barriers if isinstance(item, _Barrier) else batch).append(item)  # type: ignore[arg-type]
                if len(batch) >= _BATCH:
                    break
                item = self._queue.get_nowait()
        except Empty:
            pass
        return batch, barriers

    def _wait_for(self, due: int | None) -> float | None:
        if due is None:
            return None
        return min(_LONGEST_WAIT, max(0.001, (due - self._clock()) / _NANOSECONDS))

    def _deliver(self, batch: Sequence[Envelope]) -> None:
        for sink in self._sinks:
            self._guard(sink.name, lambda sink=sink: sink.accept(batch))  # type: ignore[misc]

    def _tick(self) -> int | None:
        now = self._clock()
        times = [self._guard(sink.name, lambda sink=sink: sink.tick(now)) for sink in self._sinks]  # type: ignore[misc]
        return min((at for at in times if at is not None), default=None)

    def _guard(self, place: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except BaseException as error:  # SystemExit too: this thread must go on
            self._tally.failed(place, error)
            return None


def _key_of(status: Status) -> tuple[Any, ...]:
    """What a status is counted by once its detail is gone."""
    environment = status.bound.get(signals.ENVIRONMENT.name)
    return status.run, status.stage, status.level, status.name, environment
