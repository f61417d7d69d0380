"""The scenarios: what happens in each, and what the script knows of it beforehand."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from tests.recording.scene import Scene

ALL = ("plain", "ours", "foreign")
BOTH = ("plain", "ours")


@dataclass(frozen=True)
class Scenario:
    """Something that happens on a server, in some variants.

    `states` are the states that the runs end in, by flow or task, sorted;
    `retries` is how many attempts there were beyond the first of each run.
    """

    name: str
    what: str
    play: Callable[[Scene], None]
    states: dict[str, list[str]]
    retries: int = 0
    variants: tuple[str, ...] = BOTH
    server: dict[str, str] = field(default_factory=dict)

    def known(self) -> dict[str, Any]:
        """The part of the truth that was known before anything ran."""
        return {"states": self.states, "retries": self.retries}


def _runs(script: str, name: str) -> Callable[[Scene], None]:
    """Run the flow as a script, to its end."""

    def play(scene: Scene) -> None:
        scene.acted("ended", exit_code=scene.run(script, name))

    return play


def _serves(
    script: str, name: str, meanwhile: Callable[[Scene, str], None] | None = None
) -> Callable[[Scene], None]:
    """Serve the flow, have it run once, and wait until the run is over."""

    def play(scene: Scene) -> None:
        with scene.served(script, name) as deployment:
            run_id = scene.create_run(deployment)
            if meanwhile is not None:
                meanwhile(scene, run_id)
            scene.wait_for_state(run_id)
            scene.settle()

    return play


def _kill_from_outside(scene: Scene, run_id: str) -> None:
    waiting = scene.wait_for_notes("waiting", 3)
    scene.settle()
    scene.acted("killed", run_id=run_id, pid=waiting[0]["pid"])
    os.kill(waiting[0]["pid"], signal.SIGKILL)


def _cancel(scene: Scene, run_id: str) -> None:
    scene.wait_for_notes("waiting")
    scene.settle()
    scene.set_state(run_id, "CANCELLING", "Cancelling")


def _resume_suspended(scene: Scene, run_id: str) -> None:
    scene.wait_for_state(run_id, "Suspended")
    scene.settle()
    scene.resume(run_id)


def _retry(scene: Scene, run_id: str) -> None:
    scene.wait_for_state(run_id, "Failed")
    scene.settle()
    now = datetime.now(timezone.utc).isoformat()
    scene.set_state(
        run_id, "SCHEDULED", "AwaitingRetry", state_details={"scheduled_time": now},
        message="Retry from the UI",
    )  # fmt: skip
    scene.wait_for_state(run_id, "Completed")


def _paused(scene: Scene) -> None:
    with scene.start("waiting.py", "paused") as process:
        run_id = scene.only_run()
        scene.wait_for_state(run_id, "Paused")
        scene.settle()
        scene.resume(run_id)
        scene.acted("ended", exit_code=process.wait(60))


def _late(scene: Scene) -> None:
    with scene.served("waiting.py", "late") as deployment:
        pass
    run_id = scene.create_run(deployment)
    scene.wait_for_state(run_id, "Late")
    scene.settle()
    scene.acted("worker came")
    with scene.served("waiting.py", "late"):
        scene.wait_for_state(run_id)
        scene.settle()


def _set_outside(scene: Scene) -> None:
    with scene.start("waiting.py", "set_outside") as process:
        scene.wait_for_notes("waiting")
        scene.set_state(scene.only_run(), "FAILED", "Failed", message="Set by hand")
        scene.settle()
        scene.mark("go")
        scene.acted("ended", exit_code=process.wait(60))


def _corrected(scene: Scene) -> None:
    scene.acted("ended", exit_code=scene.run("waiting.py", "corrected"))
    scene.settle()
    scene.set_state(scene.only_run(), "COMPLETED", "Completed", message="It was done after all")


def _heartbeats(scene: Scene) -> None:
    with scene.start("waiting.py", "heartbeats") as process:
        scene.wait(lambda: _beats(scene) >= 2, what="a second heartbeat")
        scene.mark("go")
        scene.acted("ended", exit_code=process.wait(60))


def _beats(scene: Scene) -> int:
    wanted = {
        "filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}, "occurred": _EVER},
        "limit": 1,
    }
    return int(scene.api.post("/events/filter", wanted)["total"])


_EVER = {"since": "1970-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}


def _background(scene: Scene) -> None:
    with scene.start("background.py", "in_the_background", "serve"):
        scene.acted("delayed", exit_code=scene.run("background.py", "delay"))
        scene.wait(lambda: _tasks_over(scene, 2), what="both tasks")
        scene.settle()


def _tasks_over(scene: Scene, count: int) -> bool:
    runs = scene.api.post("/task_runs/filter", {})
    return sum(run["state_type"] in ("COMPLETED", "FAILED") for run in runs) == count


def _run_deployment(scene: Scene) -> None:
    with scene.served("nested.py", "called"):
        scene.acted("ended", exit_code=scene.run("nested.py", "calling"))
        scene.settle()


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "success",
            "A flow with three tasks, two stages and a gate that ends well.",
            _runs("endings.py", "success"),
            {"success": ["Completed"], "load": ["Completed"] * 2, "score": ["Completed"]},
            variants=ALL,
        ),
        Scenario(
            "failure",
            "A task raises, and so its flow fails.",
            _runs("endings.py", "failure"),
            {"failure": ["Failed"], "load": ["Completed"], "broken": ["Failed"]},
            variants=ALL,
        ),
        Scenario(
            "retried_task",
            "A task fails twice and then succeeds.",
            _runs("attempts.py", "retried_task"),
            {"retried-task": ["Completed"], "fails_twice": ["Completed"]},
            retries=2,
            variants=ALL,
        ),
        Scenario(
            "retried_flow",
            "A flow fails once and then succeeds, in the same process.",
            _runs("attempts.py", "retried_flow"),
            {"retried-flow": ["Completed"], "work": ["Completed"] * 2},
            retries=1,
            variants=ALL,
        ),
        Scenario(
            "cached",
            "A task is called twice, and the second time its result is taken from the cache.",
            _runs("attempts.py", "cached"),
            {"cached": ["Completed"], "cached_task": ["Cached", "Completed"]},
        ),
        Scenario(
            "crashed_exit",
            "A task calls sys.exit.",
            _runs("endings.py", "crashed_exit"),
            {"crashed-exit": ["Crashed"], "leaves": ["Crashed"]},
            variants=ALL,
        ),
        Scenario(
            "crashed_sigterm",
            "A task sends SIGTERM to its own process.",
            _runs("endings.py", "crashed_sigterm"),
            {"crashed-sigterm": ["Crashed"], "load": ["Completed"], "terminates": ["Crashed"]},
            variants=ALL,
        ),
        Scenario(
            "killed_served",
            "Under a runner, SIGKILL within a task and an open stage, after statuses.",
            _serves("waiting.py", "killed_served"),
            {"killed-served": ["Crashed"], "load": ["Completed"], "killed_task": ["Running"]},
            variants=ALL,
        ),
        Scenario(
            "killed_by_hand",
            "A script that nobody looks after gets SIGKILL within a task and an open stage.",
            _runs("waiting.py", "killed_by_hand"),
            {"killed-by-hand": ["Running"], "load": ["Completed"], "killed_task": ["Running"]},
            variants=ALL,
        ),
        Scenario(
            "tasks_left_running",
            "Under a runner, SIGKILL from outside while three tasks run at once.",
            _serves("waiting.py", "tasks_left_running", _kill_from_outside),
            {
                "tasks-left-running": ["Crashed"],
                "load": ["Completed"],
                "endless": ["Running"] * 3,
            },
        ),
        Scenario(
            "cancelled",
            "Under a runner, cancelled through the API while a task runs.",
            _serves("waiting.py", "cancelled", _cancel),
            {"cancelled": ["Cancelled"], "load": ["Completed"], "endless": ["Crashed"]},
            variants=ALL,
        ),
        Scenario(
            "paused",
            "A flow pauses in its process and is resumed through the API.",
            _paused,
            {"paused": ["Completed"], "load": ["Completed"] * 2},
        ),
        Scenario(
            "suspended",
            "A flow suspends, its process ends, and another one resumes it.",
            _serves("waiting.py", "suspended", _resume_suspended),
            {"suspended": ["Completed"], "load": ["Cached", "Cached", "Completed"]},
            variants=ALL,
        ),
        Scenario(
            "late",
            "A run waits for a runner until it is late, and then runs.",
            _late,
            {"late": ["Completed"], "load": ["Completed"]},
            server={
                "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
                "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
            },
        ),
        Scenario(
            "subflows",
            "Flows three deep, each with a task.",
            _runs("nested.py", "subflows"),
            {
                "subflows": ["Completed"],
                "middle": ["Completed"],
                "bottom": ["Completed"],
                "step": ["Completed"] * 3,
            },
            variants=ALL,
        ),
        Scenario(
            "mapped",
            "A task is mapped over twenty values.",
            _runs("nested.py", "mapped"),
            {"mapped": ["Completed"], "step": ["Completed"] * 20},
        ),
        Scenario(
            "background",
            "Two tasks without a flow are run by a task worker; one fails.",
            _background,
            {"in_the_background": ["Completed", "Failed"]},
            variants=ALL,
        ),
        Scenario(
            "custom_names",
            "Flows and a task return states with names and messages of their own.",
            _runs("endings.py", "custom_names"),
            {
                "custom-names": ["Reported"],
                "promoted": ["Promoted"],
                "rejected": ["Rejected"],
                "scored_below": ["Below"],
                "load": ["Completed"],
            },
        ),
        Scenario(
            "set_outside",
            "Set to Failed through the API while it runs, a run goes on and sets its own end.",
            _set_outside,
            {"set-outside": ["Completed"], "load": ["Completed"] * 2},
        ),
        Scenario(
            "corrected",
            "A run crashes, and later its state is set to Completed through the API.",
            _corrected,
            {"corrected": ["Completed"], "load": ["Completed"]},
        ),
        Scenario(
            "retried_by_hand",
            "A run fails, and is run again under a runner through the API.",
            _serves("attempts.py", "retried_by_hand", _retry),
            {"retried-by-hand": ["Completed"], "work": ["Completed"] * 2},
            retries=1,
            variants=ALL,
        ),
        Scenario(
            "timed_out_task",
            "A task takes longer than it may, and so its flow fails.",
            _runs("endings.py", "timed_out_task"),
            {"timed-out-task": ["TimedOut"], "load": ["Completed"], "slow": ["TimedOut"]},
            variants=ALL,
        ),
        Scenario(
            "timed_out_flow",
            "A flow takes longer than it may.",
            _runs("endings.py", "timed_out_flow"),
            {"timed-out-flow": ["TimedOut"], "load": ["Completed"]},
        ),
        Scenario(
            "run_deployment",
            "A flow has a deployment run in another process and waits for it.",
            _run_deployment,
            {"calling": ["Completed"], "called": ["Completed"], "step": ["Completed"] * 2},
            variants=ALL,
        ),
        Scenario(
            "heartbeats",
            "A run that lasts longer than a period of heartbeats.",
            _heartbeats,
            {"heartbeats": ["Completed"], "load": ["Completed"]},
            variants=("plain",),
        ),
    )
}
