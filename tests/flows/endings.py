"""Ends in the way its first argument names."""

import multiprocessing
import os
import signal
import sys
import threading

from prefect import flow, task

from prefect_otel_status import flow_hooks, stage, status, task_hooks


class OwnError(Exception):
    """The flow's own."""


@task(**task_hooks())
def work():
    with stage("first"):
        status("Worked")


@flow(**flow_hooks())
def good():
    work()
    for number in range(200):
        status("Message {number}", number=number)


@flow(**flow_hooks())
def raising():
    with stage("second"):
        raise OwnError("as it was raised")


@flow(**flow_hooks())
def waiting():
    work()
    status("Waiting")
    print("ready", flush=True)
    threading.Event().wait(60)


@flow(**flow_hooks())
def terminated():
    work()
    status("About to be terminated")
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(60)


@flow(**flow_hooks())
def forking():
    with stage("parent"):
        child = multiprocessing.get_context("fork").Process(target=status, args=("In the child",))
        child.start()
        child.join(30)
        print("child", child.exitcode)
        status("In the parent")


def main(name):
    if name != "raising":
        return {"good": good, "waiting": waiting, "terminated": terminated, "forking": forking}[
            name
        ]()
    try:
        raising()
    except OwnError as error:
        print("caught", type(error).__name__, error, error.__cause__, error.__context__)


if __name__ == "__main__":
    main(sys.argv[1])
