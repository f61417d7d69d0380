"""Flows in flows, many tasks, and a flow that has another one run elsewhere."""

from prefect import flow, task
from prefect.deployments import run_deployment

from tests.recording.flows.kit import bind, flow_hooks, main, stage, status, task_hooks


@task(**task_hooks())
def step(name):
    status("Step {name}", name=name)


@flow(**flow_hooks())
def bottom():
    step("bottom")


@flow(**flow_hooks())
def middle():
    step("middle")
    bottom()


@flow(**flow_hooks())
def subflows():
    with bind(environment="prod"), stage("evaluate"):
        step("top")
        middle()


@flow(**flow_hooks())
def mapped():
    with stage("evaluate"):
        step.map([str(number) for number in range(20)]).wait()


@flow(**flow_hooks())
def called(name: str = "called"):
    step(name)


@flow(**flow_hooks())
def calling():
    with bind(model="bert", environment="staging"):
        step("calling")
        run_deployment("called/prod", parameters={"name": "by calling"}, timeout=60)


if __name__ == "__main__":
    main(subflows, mapped, called, calling)
