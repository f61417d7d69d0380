"""Flows that wait until somebody outside does something to them, or that are killed."""

import os
import signal
import threading

from prefect import flow, task
from prefect.flow_runs import pause_flow_run, suspend_flow_run

from tests.recording.flows.kit import (
    bind,
    flow_hooks,
    main,
    note,
    stage,
    status,
    task_hooks,
    wait_for_mark,
)


@task(**task_hooks())
def load():
    status("Loaded")


@task(**task_hooks())
def killed_task():
    status("About to be killed")
    # Statuses are sent within a second: what is not sent is lost with the process.
    threading.Event().wait(3)
    note("killed", signal="SIGKILL")
    os.kill(os.getpid(), signal.SIGKILL)


def run_and_be_killed():
    with bind(environment="prod"):
        status("Started")
        load()
        with stage("evaluate"):
            killed_task()


@flow(**flow_hooks())
def killed_served():
    run_and_be_killed()


@flow(**flow_hooks())
def killed_by_hand():
    run_and_be_killed()


@task(**task_hooks())
def endless(number):
    status("Waiting {number}", number=number)
    note("waiting", number=number)
    threading.Event().wait(60)


@flow(**flow_hooks())
def tasks_left_running():
    load()
    with stage("evaluate"):
        futures = [endless.submit(number) for number in range(3)]
        for future in futures:
            future.wait()


@flow(**flow_hooks())
def cancelled():
    load()
    with stage("evaluate"):
        endless(0)


@flow(**flow_hooks())
def paused():
    load()
    pause_flow_run(timeout=60, poll_interval=1)
    load()
    status("Going on")


@flow(**flow_hooks(), persist_result=True)
def suspended():
    status("Before")
    load()
    suspend_flow_run(timeout=120)
    load()
    status("After")


@flow(**flow_hooks())
def late():
    load()


@flow(**flow_hooks())
def set_outside():
    load()
    note("waiting")
    wait_for_mark("go")
    load()


@flow(**flow_hooks())
def corrected():
    load()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(30)


@flow(**flow_hooks())
def heartbeats():
    load()
    note("waiting")
    wait_for_mark("go")


if __name__ == "__main__":
    main(
        killed_served,
        killed_by_hand,
        tasks_left_running,
        cancelled,
        paused,
        suspended,
        late,
        set_outside,
        corrected,
        heartbeats,
    )
