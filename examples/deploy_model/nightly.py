"""The deployment on a schedule: each run makes a version of its own."""

# Annotations are not postponed here: Prefect checks a flow's parameters by them.
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from examples.deploy_model.flow import HOME, deploy_model
from examples.deploy_model.training import Model
from prefect_otel_status import flow_hooks


@flow(**flow_hooks())
def nightly(model: Model = "svc", home: Path = HOME) -> State:
    """Deploy MODEL under a version that is named after this run."""
    # The function itself, not the flow: what is scheduled is one run, without a run below it.
    result: State = deploy_model.fn(version=f"nightly-{flow_run.id[:8]}", model=model, home=home)
    return result
