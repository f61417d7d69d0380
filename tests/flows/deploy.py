"""The deployment of the design, with the classic state handler exactly as users write it."""

from prefect import flow, task

from prefect_otel_status import bind, flow_hooks, gate, stage, status, task_hooks, track

batches = range(3)


# fmt: off
def my_state_handler(task, old_state, new_state):
    if new_state.is_running: status("Task is now running")  # noqa: E701
    elif new_state.is_failed: status("Task failed, see its logs", level="error")  # noqa: E701
# fmt: on


@task(**task_hooks(handler=my_state_handler), retries=2)
def evaluate(model: str) -> float:
    for batch in track(batches, "Evaluating {model}", model=model):  # noqa: B007
        ...
    status("Scored {model}: {accuracy:.1%}", model=model, accuracy=0.93)
    return 0.93


@flow(**flow_hooks())
def deploy(model: str, version: str, threshold: float):
    with bind(model=model, version=version, environment="prod"):
        with stage("evaluate"):
            accuracy = evaluate(model)
        if not gate("accuracy", score=accuracy, threshold=threshold):
            status("Rolled back to the previous version", stage="rollback", level="error")
            return
        with stage("promote"):
            ...


if __name__ == "__main__":
    import sys

    deploy("bert", "3", float(sys.argv[1]))
