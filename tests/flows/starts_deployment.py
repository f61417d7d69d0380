"""Starts a run of a deployment, with values bound."""

from prefect import flow
from prefect.deployments import run_deployment

from prefect_otel_status import bind, flow_hooks


@flow(**flow_hooks())
def starts():
    with bind(model="bert", environment="staging", team="search"):
        run_deployment("served-model/prod", parameters={"accuracy": 0.95}, timeout=60)


if __name__ == "__main__":
    starts()
