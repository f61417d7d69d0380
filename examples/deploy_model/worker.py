"""A process worker of Prefect's, and the deployments that are placed on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

POOL = "demo"
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process worker, that makes its pool if there is none, until the end.

    It answers at `/health` of PREFECT_WORKER_WEBSERVER_PORT, by default 8080.
    """
    command = (sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL)
    options = ("--type", "process", "--name", "demo", "--install-policy", "never")
    process = subprocess.Popen(
        [*command, *options, "--with-healthcheck"],
        # Runs have a folder of their own, from which they still import the flow by its name.
        env={**os.environ, "PYTHONPATH": _path()},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        # What is left of its runs: nobody else would end them.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def has_pool(api: str) -> bool:
    """Whether the server at API has the worker's pool yet."""
    try:
        return httpx.get(f"{api}/work_pools/{POOL}", timeout=10, trust_env=False).is_success
    except httpx.TransportError:
        return False


def register(models: Mapping[str, str], home: Path, *, nightly_every: float) -> None:
    """Place a deployment for each of MODELS on the pool, and one more on a schedule, in seconds.

    Each has a folder of its own in HOME, named after the deployment.
    """
    # Prefect and scikit-learn take seconds to import, which nobody wants who asks for help.
    from examples.deploy_model.flow import deploy_model
    from examples.deploy_model.nightly import nightly

    for name, model in models.items():
        parameters = {"model": model, "home": str(home / name)}
        deploy_model.to_deployment(name, parameters=parameters, **_placed()).apply()
    nightly.to_deployment(
        "nightly",
        parameters={"home": str(home / "nightly")},
        interval=timedelta(seconds=nightly_every),
        **_placed(),
    ).apply()


def _placed() -> dict[str, Any]:
    from prefect.types.entrypoint import EntrypointType

    # By the name of its module, since the flow imports its neighbours by theirs.
    return {"work_pool_name": POOL, "entrypoint_type": EntrypointType.MODULE_PATH}
