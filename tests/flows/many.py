"""Runs the flow as often as the first argument says, some of them failing."""

import sys

from prefect import flow, task

from prefect_otel_status import flow_hooks, stage, status, task_hooks


@task(**task_hooks())
def step():
    with stage("work"):
        status("Worked")


@flow(**flow_hooks())
def below():
    step()


@flow(**flow_hooks())
def many():
    below()
    step()


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        many()
