"""Serve the deployment until it is stopped: `python -m examples.deploy_model.serve`."""

from __future__ import annotations

from prefect.types.entrypoint import EntrypointType

from examples.deploy_model.flow import deploy_model

NAME = "demo"


def serve() -> None:
    """Register the deployment, and run what is asked of it."""
    # By the name of its module, since the flow imports its neighbours by theirs.
    deploy_model.serve(name=NAME, entrypoint_type=EntrypointType.MODULE_PATH)


if __name__ == "__main__":
    serve()
