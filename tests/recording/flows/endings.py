"""Flows that end by themselves, each in the way that it is named after."""

import os
import signal
import sys
import threading
import time

from prefect import flow, task
from prefect.states import Completed, Failed

from tests.recording.flows.kit import bind, flow_hooks, gate, main, stage, status, task_hooks


@task(**task_hooks())
def load(rows):
    status("Loaded {rows} rows", rows=rows)
    return rows


@task(**task_hooks())
def score(model):
    status("Scored {model}: {accuracy:.1%}", model=model, accuracy=0.93, progress=0.5)
    return 0.93


@task(**task_hooks())
def broken():
    status("About to fail", level="warning")
    raise ValueError("accuracy is not a number")


@flow(**flow_hooks())
def success():
    with bind(model="bert", version="7", environment="prod"):
        with stage("evaluate"):
            load(12)
            accuracy = score("bert")
        gate("accuracy", score=accuracy, threshold=0.9)
        with stage("promote"):
            load(13)
            status("Promoted {model}", model="bert", event="model.promoted")


@flow(**flow_hooks())
def failure():
    with stage("evaluate"):
        load(12)
        broken()


@flow(**flow_hooks())
def crashed_exit():
    status("About to leave")
    with stage("evaluate"):
        leaves()


@task(**task_hooks())
def leaves():
    sys.exit(3)


@flow(**flow_hooks())
def crashed_sigterm():
    load(12)
    with stage("evaluate"):
        terminates()


@task(**task_hooks())
def terminates():
    status("About to be terminated")
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(30)


@task(**task_hooks())
def scored_below():
    return Completed(name="Below", message="Accuracy 0.42 is below 0.9")


@flow(**flow_hooks())
def promoted():
    scored_below(return_state=True)
    return Completed(name="Promoted", message="Promoted version 7")


@flow(**flow_hooks())
def rejected():
    load(12)
    return Failed(name="Rejected", message="Accuracy 0.42 is too low")


@flow(**flow_hooks())
def custom_names():
    promoted(return_state=True)
    rejected(return_state=True)
    return Completed(name="Reported", message="One promoted, one rejected")


@task(**task_hooks(), timeout_seconds=0.5)
def slow():
    status("This takes long")
    time.sleep(3)  # longer than its timeout: that is what is recorded


@flow(**flow_hooks())
def timed_out_task():
    load(12)
    slow()


@flow(**flow_hooks(), timeout_seconds=1.5)
def timed_out_flow():
    load(12)
    with stage("evaluate"):
        for _ in range(100):
            time.sleep(0.1)  # until its timeout ends it


if __name__ == "__main__":
    main(
        success,
        failure,
        crashed_exit,
        crashed_sigterm,
        custom_names,
        timed_out_task,
        timed_out_flow,
    )
