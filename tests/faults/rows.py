"""Every fault that must be survived, and what must come of it. Tests say theirs by a mark."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A fault and what is promised. `pytest.mark.fault(NUMBER)` is on the tests that provoke it."""

    number: int
    fault: str
    promise: str


ROWS = [
    Row(number, fault, promise)
    for number, (fault, promise) in enumerate(
        [
            (
                "The collector refuses connections for an hour",
                "Nothing below the outbox's cap is lost",
            ),
            ("The endpoint accepts and hangs", "`status()` never waits, and the run ends normally"),
            ("401, 403 or 404 from the endpoint", "Kept; one clear line in the log, and a metric"),
            (
                "503, or 429 with Retry-After; 500",
                "Tried again after the delay that was asked for; 500 a bounded number of times",
            ),
            ("A partial success", "Counted, and logged in the receiver's words"),
            ("The collector is killed in the middle of a batch", "The resend is the same bytes"),
            ("The store's disk is full, then free again", "Said; goes on by itself, exactly"),
            (
                "The store's file is torn",
                "Set aside with its name in the log; the bridge begins a new one",
            ),
            ("The bridge is killed 100 times", "Each run is drawn once, counters are exact"),
            ("A death between send and confirmation", "The same bytes again: no duplicate"),
            ("A smaller cap after a restart", "Nothing that waits is deleted"),
            ("Two bridges on one store", "The second waits, and takes over when the first dies"),
            (
                "Prefect's server is down at the start, and dies later",
                "Connects for ever with a back-off and a line a minute; reads what it missed",
            ),
            ("The websocket is closed cleanly", "Connects again"),
            (
                "A burst of 4,000 events",
                "None is missing after the sweep; what the websocket lost is a metric",
            ),
            ("An event that is dated in the future", "Nothing after it is missed"),
            (
                "The bridge is off for a while, or for longer than the history is kept",
                "Filled from history; what that no longer has is said and counted",
            ),
            ("Events come twice and in another order", "The same result"),
            ("Wrong or rotated credentials", "A clear error without the key; no restart needed"),
            ("CSRF protection, an auth string, 429 from the server", "Works"),
            ("More runs than a page in one moment", "None is skipped"),
            (
                "SIGKILL of a flow's process under a runner",
                "A whole ERROR trace; its running task is closed as abandoned",
            ),
            ("The flow's process and its runner are killed", "Closed as inferred, by heartbeats"),
            ("Crashed, and later Completed", "A linked correction; still one span of the run"),
            ("`on_running` twice for one run", "Counted once"),
            ("A hook, a handler or a sink raises or hangs", "The run is unaffected"),
            (
                "Retries, AwaitingRetry, Cached, Late, Paused, Cancelling, custom names",
                "One span a run, attempts visible",
            ),
            ("Suspended, and resumed in another process", "One trace"),
            (
                "Subflows, `.submit`, `.map`, `.delay`, process pools, Dask, fork",
                "Parents are right, nothing hangs",
            ),
            ("A million distinct values", "As many series as the budget has; totals exact"),
            ("The interpreter exits with the collector down", "At most two seconds later"),
            ("Clocks an hour apart, in both directions", "No negative duration, no lost run"),
            ("A flood of events for minutes, as fast as they can be taken", "Memory is flat"),
            (
                "A poison batch: 400, 413, too large, RESOURCE_EXHAUSTED",
                "Split, then set aside with a command to look at it; the rest flows",
            ),
            ("A run is deleted on the server", "No counter falls, its gauges go"),
            ("A week of failures is backfilled", "Traces appear, counters and alerts stay still"),
            ("A sampler at 10 %", "Whole traces or none; counters are unaffected"),
        ],
        start=1,
    )
]
"""All rows, by number."""
