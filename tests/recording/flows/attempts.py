"""Flows and tasks that need more than one attempt, or none."""

from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.context import FlowRunContext, TaskRunContext

from tests.recording.flows.kit import flow_hooks, main, stage, status, task_hooks


def attempt():
    return FlowRunContext.get().flow_run.run_count


@task(**task_hooks(), retries=2)
def fails_twice():
    number = TaskRunContext.get().task_run.run_count
    status("Attempt {number}", number=number)
    if number < 3:
        raise ConnectionError("not yet")


@flow(**flow_hooks())
def retried_task():
    fails_twice()


@task(**task_hooks())
def work(number):
    status("Working in attempt {number}", number=number)


@flow(**flow_hooks(), retries=1)
def retried_flow():
    with stage("evaluate"):
        work(attempt())
        if attempt() < 2:
            raise ConnectionError("not yet")


@task(**task_hooks(), cache_policy=INPUTS, persist_result=True)
def cached_task(value):
    status("Computed {value}", value=value)
    return value


@flow(**flow_hooks())
def cached():
    cached_task(1)
    cached_task(1)


@flow(**flow_hooks())
def retried_by_hand():
    work(attempt())
    if attempt() < 2:
        raise RuntimeError("the disk is full")


if __name__ == "__main__":
    main(retried_task, retried_flow, cached, retried_by_hand)
