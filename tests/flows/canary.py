"""A flow that says a secret wherever a user can put one. The secret is in SECRET."""

import os

from prefect import flow, get_run_logger, task

from prefect_otel_status import bind, flow_hooks, gate, stage, status, task_hooks, track

SECRET = os.environ["CANARY"]
IN_TEXT = f"token=ghp_{SECRET}"
IN_ADDRESS = f"postgresql://bridge:{SECRET}@db/models"


class Carried:
    """An object that tells the secret when it is shown."""

    def __str__(self) -> str:
        return IN_TEXT


@task(**task_hooks(), task_run_name=f"connects-{IN_TEXT}")
def connects(address: str) -> None:
    status("Connecting to {address}", address=address)
    status(f"Connecting with {IN_TEXT}", level="warning", event=f"event {IN_TEXT}")
    status("Carrying {what}", what=Carried(), nested={"password": SECRET, "deep": [IN_ADDRESS]})
    get_run_logger().warning("Connecting to %s", IN_ADDRESS)
    raise ConnectionError(f"cannot connect to {IN_ADDRESS}")


@flow(**flow_hooks(), flow_run_name=f"canary-{IN_TEXT}")
def canary() -> None:
    with bind(api_key=SECRET, connection=IN_ADDRESS, **{f"name {IN_TEXT}": "value"}):
        with stage(f"stage {IN_TEXT}"):
            for _ in track(range(2), f"Tracking {IN_ADDRESS}"):
                pass
        gate(f"gate {IN_TEXT}", score=0.5, threshold=0.9)
        connects(IN_ADDRESS)


if __name__ == "__main__":
    canary()
