"""The hand-over from the flow's threads to the sinks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from prefect_otel_status import recorder as recorder_module
from prefect_otel_status import signals
from prefect_otel_status.envelope import Envelope
from prefect_otel_status.recorder import Recorder
from prefect_otel_status.sinks.prefect_event import PrefectEventSink
from prefect_otel_status.tally import Tally
from tests.support.records import (
    NOW,
    SECOND,
    ManualClock,
    cleaner,
    flow_run,
    gate_result,
    status,
    transition,
)
from tests.support.server import wait_for

ROOT = Path(__file__).parent.parent
WAIT = 10.0
CLEANER = cleaner()


class Sink:
    """Keeps what it is given; can be made to raise, to hang and to ask for ticks."""

    def __init__(self, name: str = "sink") -> None:
        self.name = name
        self.records: list[Any] = []
        self.calls: list[str] = []
        self.error: BaseException | None = None
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.due: int | None = None
        self.ticks: list[int] = []
        self.ticked = threading.Event()

    def accept(self, batch: Sequence[Envelope]) -> None:
        self.entered.set()
        assert self.gate.wait(WAIT)
        self._note("accept")
        self.records.extend(envelope.record for envelope in batch)

    def flush(self) -> None:
        self._note("flush")

    def tick(self, now: int) -> int | None:
        self._note("tick")
        self.ticks.append(now)
        self.ticked.set()
        return self.due if self.due is not None and now < self.due else None

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    @property
    def messages(self) -> list[str]:
        return [record.message for record in self.records]

    def hold(self) -> None:
        """Hang in the next `accept` until the gate is opened."""
        self.entered.clear()
        self.gate.clear()


Make = Callable[..., Recorder]


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def make(tally: Tally) -> Iterator[Make]:
    """Makes recorders that are stopped in the end."""
    made: list[Recorder] = []

    def make_one(*sinks: Any, **options: Any) -> Recorder:
        usual: dict[str, Any] = {"tally": tally, "interval": 0.0}
        made.append(Recorder(sinks, **{**usual, **options}))
        return made[-1]

    yield make_one
    for recorder in made:
        recorder.stop(1.0)


def envelope(record: Any) -> Envelope:
    return Envelope(record, CLEANER)


def put(recorder: Recorder, *messages: str, **changes: Any) -> None:
    """Say MESSAGES."""
    for message in messages:
        recorder.put(envelope(status(message, **changes)))


def fill_up(recorder: Recorder, sink: Sink, capacity: int) -> None:
    """Make SINK hang, and let CAPACITY statuses wait behind it."""
    sink.hold()
    put(recorder, "first")
    assert sink.entered.wait(WAIT)
    put(recorder, *(f"waits {number}" for number in range(capacity)))


def failures(tally: Tally) -> dict[str, int]:
    """The failures counted in TALLY, by place."""
    return {
        place: n
        for (metric, place), n in tally.read().items()
        if metric is signals.PROCESS_FAILURES
    }


# --- passing on ----------------------------------------------------------------


def test_every_sink_gets_all_records_in_order(make: Make) -> None:
    first, second = Sink("first"), Sink("second")
    recorder = make(first, second)
    said = [status("a"), transition(), gate_result(), status("b")]
    for record in said:
        recorder.put(envelope(record))
    assert recorder.flush(WAIT)
    assert first.records == second.records == said


def test_records_of_many_threads_all_arrive(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    threads = [
        threading.Thread(target=put, args=(recorder, *(f"{name}{n}" for n in range(500))))
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert recorder.flush(WAIT)
    assert Counter(sink.messages) == Counter(f"{name}{n}" for name in "abcd" for n in range(500))
    for name in "abcd":
        of_one = [message for message in sink.messages if message.startswith(name)]
        assert of_one == [f"{name}{n}" for n in range(500)]


def test_more_records_than_a_batch_holds_arrive_in_order(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    fill_up(recorder, sink, 1500)
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert sink.messages == ["first", *(f"waits {number}" for number in range(1500))]


def test_there_is_one_thread_however_often_it_is_started(make: Make) -> None:
    recorder = make(Sink())
    put(recorder, "a")
    thread = recorder._thread
    recorder._start()
    assert recorder._thread is thread


def test_without_a_record_there_is_nothing_to_wait_for(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    assert recorder.flush(0.0)
    assert recorder.stop(0.0)
    assert sink.calls == []


def test_flush_flushes_the_sinks_after_their_records(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    fill_up(recorder, sink, 3)
    waiting = threading.Thread(target=recorder.flush, args=(WAIT,))
    waiting.start()
    sink.gate.set()
    waiting.join(WAIT)
    assert sink.messages == ["first", "waits 0", "waits 1", "waits 2"]
    assert [call for call in sink.calls if call != "tick"][-1] == "flush"


def test_flush_gives_up_after_its_bound(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    fill_up(recorder, sink, 1)
    began = time.monotonic()
    assert recorder.flush(0.05) is False
    assert time.monotonic() - began < 2
    sink.gate.set()
    assert recorder.flush(WAIT)


def test_stop_gives_up_after_its_bound(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    fill_up(recorder, sink, 1)
    began = time.monotonic()
    assert recorder.stop(0.05) is False
    assert time.monotonic() - began < 2
    sink.gate.set()


def test_a_sink_may_flush_the_recorder_that_calls_it(make: Make) -> None:
    answers: list[bool] = []

    class Curious(Sink):
        def flush(self) -> None:
            answers.append(recorder.flush(WAIT))

    recorder = make(Curious())
    put(recorder, "a")
    assert recorder.flush(WAIT)
    assert answers == [True]


# --- stopping and beginning again ----------------------------------------------


def test_stop_passes_on_what_is_left_and_ends_the_thread(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    put(recorder, "a", "b")
    thread = recorder._thread
    assert thread is not None
    assert recorder.stop(WAIT)
    thread.join(WAIT)
    assert not thread.is_alive()
    assert sink.messages == ["a", "b"]
    assert sink.calls[-2:] == ["flush", "tick"]


def test_what_is_said_after_stop_is_passed_on_too(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    put(recorder, "a")
    thread = recorder._thread
    assert recorder.stop(WAIT)
    assert thread is not None
    thread.join(WAIT)
    put(recorder, "b")
    assert recorder.flush(WAIT)
    assert sink.messages == ["a", "b"]


def test_what_is_said_the_moment_stop_returns_is_passed_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink()
    recorder = make(sink)

    class Reached(threading.Event):
        """Lets the waiting thread go on at once, as the scheduler may."""

        def set(self) -> None:
            super().set()
            put(recorder, "after stop")

    class Barrier(recorder_module._Barrier):
        def __init__(self, *, stop: bool = False) -> None:
            super().__init__(stop=stop)
            self.reached = Reached()

    put(recorder, "before")
    thread = recorder._thread
    assert thread is not None
    monkeypatch.setattr(recorder_module, "_Barrier", Barrier)
    assert recorder.stop(WAIT)
    monkeypatch.undo()
    thread.join(WAIT)
    assert recorder.flush(WAIT)
    assert sink.messages == ["before", "after stop"]


def test_a_child_begins_with_an_empty_queue(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    fill_up(recorder, sink, 5)
    recorder.after_fork()
    sink.gate.set()
    child = Sink()
    recorder._sinks = (child,)
    put(recorder, "of the child")
    assert recorder.flush(WAIT)
    assert child.messages == ["of the child"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_real_fork_both_processes_pass_on_their_own() -> None:
    script = """
        import os
        from prefect_otel_status.recorder import Recorder
        from prefect_otel_status.tally import Tally
        from tests.support.records import envelope, status

        class Sink:
            name = "sink"
            def accept(self, batch):
                said.extend(envelope.record.message for envelope in batch)
            def flush(self): pass
            def tick(self, now): return None

        said = []
        recorder = Recorder([Sink()], tally=Tally(), interval=0.0)
        recorder.put(envelope(status("parent")))
        assert recorder.flush(10)
        pid = os.fork()
        if pid == 0:
            recorder.after_fork()
            said.clear()
        recorder.put(envelope(status("child" if pid == 0 else "parent again")))
        assert recorder.flush(10)
        if pid:
            os.waitpid(pid, 0)
        print(",".join(said), flush=True)
        os._exit(0)
    """
    assert run_script(script).splitlines() == ["child", "parent,parent again"]


def test_a_child_does_not_send_what_its_parent_held_back(make: Make) -> None:
    sent: list[str] = []

    def emit(run: Any, payload: dict[str, Any]) -> None:
        sent.extend(item["message"] for item in payload["statuses"])

    sink, context = PrefectEventSink(emit=emit), copy_context()
    sink.accept([Envelope(status("of the parent"), CLEANER, context)])
    recorder = make(sink)
    recorder.after_fork()
    recorder.put(Envelope(status("of the child"), CLEANER, context))
    assert recorder.flush(WAIT)
    assert sent == ["of the child"]


def run_script(script: str) -> str:
    """What SCRIPT prints, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_where_no_thread_can_be_started_the_flow_goes_on(
    make: Make, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink()
    recorder = make(sink)
    monkeypatch.setattr(threading.Thread, "start", _refuse)
    put(recorder, "a")
    monkeypatch.undo()
    assert failures(tally) == {"recorder": 1}
    put(recorder, "b")
    assert recorder.flush(WAIT)
    assert sink.messages == ["a", "b"]


def test_flush_does_not_claim_what_no_thread_has_passed_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = make(Sink())
    monkeypatch.setattr(threading.Thread, "start", _refuse)
    put(recorder, "a")
    assert recorder.flush(0.01) is False
    monkeypatch.undo()


def _refuse(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


# --- the flow never waits ------------------------------------------------------


@pytest.mark.fault(26)
def test_put_does_not_wait_for_a_sink_that_hangs(make: Make) -> None:
    sink = Sink()
    recorder = make(sink, capacity=10)
    fill_up(recorder, sink, 10)
    began = time.monotonic()
    put(recorder, *("more" for _ in range(1000)))
    assert time.monotonic() - began < 2
    sink.gate.set()


def test_put_in_a_signal_handler_does_not_wait(make: Make) -> None:
    sink = Sink()
    recorder = make(sink)
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: put(recorder, "in the handler"))
    try:
        with recorder._start_lock, recorder._overflow_lock:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    put(recorder, "afterwards")
    assert recorder.flush(WAIT)
    assert sink.messages == ["in the handler", "afterwards"]


def test_put_in_a_signal_handler_does_not_wait_for_the_overflow(make: Make, tally: Tally) -> None:
    sink, folded = Sink(), Counter[Any]()
    recorder = make(sink, capacity=1, on_overflow=folded.update)
    fill_up(recorder, sink, 1)
    with recorder._overflow_lock:
        put(recorder, "too much", "too much")
    assert tally.read() == {(signals.PROCESS_DROPS, "queue_full"): 2}
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert folded == {(flow_run(), None, "info", "too much", None): 2}, (
        "not even then is one missed"
    )


# --- overflow ------------------------------------------------------------------


def test_beyond_the_capacity_the_totals_stay_exact(make: Make, tally: Tally) -> None:
    sink, folded = Sink(), Counter[Any]()
    recorder = make(sink, capacity=10, on_overflow=folded.update)
    fill_up(recorder, sink, 10)
    put(recorder, *["a"] * 30, stage="load", bound={"deployment.environment.name": "prod"})
    put(recorder, *["b"] * 20, level="warning", event="said_b")
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert folded == {
        (flow_run(), "load", "info", "a", "prod"): 30,
        (flow_run(), None, "warning", "said_b", None): 20,
    }
    assert len(sink.records) == 11
    assert tally.read() == {(signals.PROCESS_DROPS, "queue_full"): 50}


def test_beyond_the_capacity_errors_and_transitions_are_kept(make: Make, tally: Tally) -> None:
    sink, folded = Sink(), Counter[Any]()
    recorder = make(sink, capacity=10, on_overflow=folded.update)
    fill_up(recorder, sink, 10)
    put(recorder, "broken", level="error")
    recorder.put(envelope(transition("FAILED", message="it failed")))
    put(recorder, "worse", level="critical")
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert sink.messages[-3:] == ["broken", "it failed", "worse"]
    assert (folded, tally.read()) == (Counter(), {})


def test_even_errors_have_a_bound_and_stay_counted(make: Make, tally: Tally) -> None:
    sink, folded = Sink(), Counter[Any]()
    recorder = make(sink, capacity=2, on_overflow=folded.update)
    fill_up(recorder, sink, 2)
    put(recorder, *["e"] * 30, level="error")
    recorder.put(envelope(transition()))
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert sink.messages == ["first", "waits 0", "waits 1", *["e"] * 18]
    assert folded == {(flow_run(), None, "error", "e", None): 12}
    assert tally.read() == {(signals.PROCESS_DROPS, "queue_full"): 13}


def test_totals_stay_exact_for_more_templates_than_can_be_kept(make: Make) -> None:
    sink, folded = Sink(), Counter[Any]()
    recorder = make(sink, capacity=10, on_overflow=folded.update)
    fill_up(recorder, sink, 10)
    put(recorder, *(f"t{number}" for number in range(1000)))
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert folded.total() == 1000
    assert folded[None, None, "info", None, None] == 990
    assert len(folded) == 11


def test_totals_stay_exact_and_few_for_more_stages_than_can_be_kept(make: Make) -> None:
    sink, folded = Sink(), Counter[Any]()
    recorder = make(sink, capacity=10, on_overflow=folded.update)
    fill_up(recorder, sink, 10)
    for number in range(1000):
        put(recorder, "t", stage=f"s{number}")
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert folded.total() == 1000
    assert len(folded) <= 20


def test_without_anyone_to_tell_the_totals_are_still_tallied(make: Make, tally: Tally) -> None:
    sink = Sink()
    recorder = make(sink, capacity=1)
    fill_up(recorder, sink, 1)
    put(recorder, "a", "b")
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert tally.read() == {(signals.PROCESS_DROPS, "queue_full"): 2}


def test_a_listener_to_overflows_that_raises_is_counted(make: Make, tally: Tally) -> None:
    def refuse(counts: Counter[Any]) -> None:
        raise ValueError("no counts")

    sink = Sink()
    recorder = make(sink, capacity=1, on_overflow=refuse)
    fill_up(recorder, sink, 1)
    put(recorder, "a")
    sink.gate.set()
    assert recorder.flush(WAIT)
    assert failures(tally) == {"overflow": 1}


# --- sinks that fail -----------------------------------------------------------


@pytest.mark.fault(26)
def test_a_sink_that_raises_harms_no_other(make: Make, tally: Tally) -> None:
    bad, good = Sink("bad"), Sink("good")
    bad.error = ValueError("no")
    recorder = make(bad, good)
    put(recorder, "a")
    assert recorder.flush(WAIT)
    put(recorder, "b")
    assert recorder.flush(WAIT)
    assert good.messages == ["a", "b"]
    assert failures(tally) == {"bad": len(bad.calls)}
    assert {"accept", "flush", "tick"} == set(bad.calls)


def test_a_sink_that_wants_to_leave_the_process_harms_no_other(make: Make, tally: Tally) -> None:
    bad, good = Sink("bad"), Sink("good")
    bad.error = SystemExit(1)
    recorder = make(bad, good)
    put(recorder, "a")
    assert recorder.flush(2.0)
    assert good.messages == ["a"]
    assert failures(tally) == {"bad": len(bad.calls)}


# --- ticks ---------------------------------------------------------------------


def test_a_sink_is_called_again_when_it_asked_to_be(make: Make) -> None:
    clock, sink = ManualClock(), Sink()
    sink.due = NOW + SECOND // 1000
    recorder = make(sink, clock=clock)
    put(recorder, "a")
    assert recorder.flush(WAIT)
    assert set(sink.ticks) == {NOW}
    clock.now = sink.due
    sink.ticked.clear()
    assert sink.ticked.wait(WAIT)
    assert sink.ticks[-1] == sink.due


def test_of_several_sinks_the_earliest_is_waited_for(make: Make) -> None:
    soon, late = Sink("soon"), Sink("late")
    soon.due, late.due = NOW + 1, NOW + 3600 * SECOND
    recorder = make(late, soon, clock=ManualClock())
    put(recorder, "a")
    assert soon.ticked.wait(WAIT)
    soon.ticked.clear()
    assert soon.ticked.wait(WAIT)


def test_a_sink_that_asks_for_a_time_no_clock_reaches_harms_nothing(make: Make) -> None:
    sink = Sink()
    recorder = make(sink, clock=ManualClock())
    sink.due = NOW + 10**13 * SECOND
    put(recorder, "a")
    assert sink.ticked.wait(WAIT)
    put(recorder, "b")
    assert recorder.flush(2.0)
    assert sink.messages == ["a", "b"]


class Hurry(threading.Event):
    """Keeps how long it is waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return True


def test_between_batches_the_thread_lets_records_gather(make: Make) -> None:
    sink, hurry = Sink(), Hurry()
    recorder = make(sink, interval=0.25)
    recorder._hurry = hurry
    put(recorder, "a")
    assert sink.ticked.wait(WAIT)
    assert recorder.flush(WAIT)
    assert hurry.waited == [0.25]


def test_a_flush_does_not_wait_for_records_to_gather(make: Make) -> None:
    sink = Sink()
    recorder = make(sink, interval=3600.0)
    put(recorder, "a")
    assert sink.ticked.wait(WAIT)
    put(recorder, "b")
    assert recorder.flush(WAIT)
    assert sink.messages == ["a", "b"]


def test_a_nudge_passes_everything_on_without_waiting(make: Make) -> None:
    sink = Sink()
    recorder = make(sink, interval=3600.0)
    recorder.nudge()
    assert recorder._thread is None
    put(recorder, "a")
    assert sink.ticked.wait(WAIT)
    put(recorder, "b")
    recorder.nudge()
    wait_for(lambda: sink.messages == ["a", "b"], timeout=WAIT)
