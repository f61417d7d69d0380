"""The deployment: train, release as candidate, evaluate, canary, promote or roll back."""

# Annotations are not postponed here: Prefect checks a flow's parameters by them.
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.runtime import task_run
from prefect.states import Completed, Failed

from examples.deploy_model import evaluation, faults, training
from examples.deploy_model.canary import STEPS, answers, routed
from examples.deploy_model.faults import Fault
from examples.deploy_model.lock import replay_lock
from examples.deploy_model.release import Releases
from examples.deploy_model.training import Model
from prefect_otel_status import bind, flow_hooks, gate, stage, status, task_hooks, track

HOME = Path("models")


@task(**task_hooks())
def train_model(home: Path, version: str, model: Model, fault: Fault | None) -> int:
    """Train MODEL and save it as VERSION. Returns the number of images it saw."""
    images = faults.training_images(fault, training.load_data().training)
    Releases(home).save(version, training.fit(model, images))
    return len(images)


@task(**task_hooks())
def evaluate_candidate(home: Path) -> float:
    """The candidate's accuracy on images that it was not trained on."""
    # Loaded from where it was released, so that what is judged is what will be served.
    candidate = Releases(home).load("candidate")
    return evaluation.accuracy(candidate, training.load_data().held_out)


@task(**task_hooks(), retries=2, retry_delay_seconds=1)
def replay_canary(home: Path, threshold: float, fault: Fault | None) -> bool:
    """Have the candidate answer more and more of the recorded requests, while its gate passes."""
    with faults.lock_taken(fault, home, attempt=task_run.run_count):
        return all(replay(home, share, threshold, fault) for share in STEPS)


def replay(home: Path, share: float, threshold: float, fault: Fault | None) -> bool:
    """Replay a SHARE of the requests: whether the candidate got enough of them right."""
    with stage("canary", share=share), replay_lock(home):
        asked = routed(training.load_data().requests, share)
        given = track(
            faults.paced(fault, answers(Releases(home).load("candidate"), asked)),
            "Canary at {share:.0%}: {done} of {total} requests",
            total=len(asked),
            share=share,
        )
        right = evaluation.share_right(list(given), asked)
        return gate("canary", score=right, threshold=threshold, share=share)


def withdraw(flow: Any, flow_run: Any, state: State) -> None:
    """Withdraw the candidate of a run that failed or crashed, unless it is another's by now."""
    releases = Releases(Path(flow_run.parameters.get("home", HOME)))
    if releases.version_of("candidate") == flow_run.parameters["version"]:
        releases.roll_back()


def tell_crash(flow: Any, old_state: Any, new_state: Any) -> None:
    """Say what became of a candidate whose deployment crashed."""
    if new_state.is_crashed:
        status("Withdrew the candidate after a crash", stage="rollback", level="error")


# The process of a run that is killed cannot clean up: then its runner calls these.
@flow(**flow_hooks(handler=tell_crash, on_failure=[withdraw], on_crashed=[withdraw]))
def deploy_model(
    version: str,
    model: Model = "svc",
    threshold: float = 0.95,
    fault: Fault | None = None,
    home: Path = HOME,
) -> State:
    """Deploy MODEL as VERSION: live once it has passed its gates; if not, nothing has changed."""
    releases = Releases(home)
    with bind(model=model, version=version):
        with stage("train"):
            images = train_model(home, version, model, fault)
            status("Trained {model} on {images} images", model=model, images=images)
        with stage("release"):
            releases.switch("candidate", version)
            status("Released {version} as candidate", version=version)
        with stage("evaluate"):
            accuracy = evaluate_candidate(home)
            passed = gate("accuracy", score=accuracy, threshold=threshold)
        if passed and replay_canary(home, threshold, fault):
            return promote(releases, version)
        return roll_back(releases, version)


@stage("promote")
def promote(releases: Releases, version: str) -> State:
    """Make the candidate live."""
    previous = releases.promote()
    status("Promoted {version}", version=version, previous=previous)
    return Completed(message=f"Version {version} is live")


@stage("rollback")
def roll_back(releases: Releases, version: str) -> State:
    """Withdraw the candidate; what was live stays live."""
    live = releases.roll_back()
    status("Rolled back to {live}", live=live, level="error")
    return Failed(message=f"Version {version} missed a gate")
