"""What is said by a thread, or after its stage or its run, belongs where a reader looks for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed

from prefect_otel_status import stage, status
from prefect_otel_status.testing import StatusCapture

pytestmark = pytest.mark.server


class Speaker(threading.Thread):
    """A thread with a `run` of its own."""

    def run(self) -> None:
        status("by a subclass")


@pytest.fixture
def capture(prefect_api: str, status_capture: StatusCapture) -> StatusCapture:
    return status_capture


def _runs(capture: StatusCapture) -> dict[str, str | None]:
    return {said.message: said.run.title if said.run else None for said in capture.statuses}


def test_every_kind_of_thread_speaks_for_its_run(prefect_api: str, capture: StatusCapture) -> None:
    @task
    def threads() -> None:
        timer = threading.Timer(0, lambda: status("by a timer"))
        for thread in (timer, Speaker(), threading.Thread(target=status, args=("by a target",))):
            thread.start()
            thread.join()

    @flow
    def starts_threads() -> None:
        threads()

    with temporary_settings({PREFECT_API_URL: prefect_api}):
        starts_threads()
    assert _runs(capture) == {
        "by a timer": "threads",
        "by a subclass": "threads",
        "by a target": "threads",
    }


def test_a_worker_that_outlives_its_run_speaks_for_nobody(
    prefect_api: str, capture: StatusCapture
) -> None:
    with ThreadPoolExecutor(1) as pool:

        @flow
        def fills_the_pool() -> None:
            pool.submit(status, "in the run").result()

        with temporary_settings({PREFECT_API_URL: prefect_api}):
            fills_the_pool()
        pool.submit(status, "after the run").result()
    assert _runs(capture) == {"in the run": "fills-the-pool", "after the run": None}
    after = capture.assert_said("after the run")
    assert (after.trace_id, after.span_id) == (0, 0)


def test_a_thread_that_outlives_its_stage_speaks_for_the_run(
    prefect_api: str, capture: StatusCapture
) -> None:
    left, said = threading.Event(), threading.Event()

    def speak() -> None:
        left.wait(30)
        status("after the stage")
        said.set()

    @flow
    def leaves_a_stage() -> None:
        with stage("short"):
            threading.Thread(target=speak).start()
        left.set()
        said.wait(30)

    with temporary_settings({PREFECT_API_URL: prefect_api}):
        leaves_a_stage()
    late = capture.assert_said("after the stage")
    assert (late.run.title if late.run else None, late.stage) == ("leaves-a-stage", None)


@pytest.mark.parametrize(
    "words",
    [
        "Late data was skipped",
        "Unexpectedly low accuracy: 0.41",
        "Paused the rollout at 20%",
        "Cancelled by the operator on call",
        "The flow run scored 3 models",
        "Flow run was rolled back",
        "3/5 states of the canary are healthy",
    ],
)
def test_an_authors_words_are_kept_however_much_they_sound_like_prefects(
    words: str, prefect_api: str, capture: StatusCapture
) -> None:
    @flow
    def returns_words() -> object:
        return Completed(message=words)

    with temporary_settings({PREFECT_API_URL: prefect_api}):
        returns_words()
    assert capture.messages == [words]
