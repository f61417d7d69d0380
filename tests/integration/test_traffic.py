"""A round of the stack's traffic: a real worker, real runs, one of them killed, and the bridge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.deploy_model.release import Releases
from examples.deploy_model.worker import POOL
from tests.conftest import ROOT
from tests.support.bridge import bridge
from tests.support.server import free_port

# Six processes that import Prefect and scikit-learn, one after the other.
pytestmark = [pytest.mark.server, pytest.mark.long, pytest.mark.timeout(1200)]

ERRORS = "cicd_pipeline_run_errors_total"


def test_a_round_makes_every_kind_of_run(
    otlp_env: dict[str, str], prefect_api: str, tmp_path: Path
) -> None:
    home = tmp_path / "models"
    with bridge(otlp_env, tmp_path / "bridge") as running:
        running.wait_ready(timeout=90)
        assert _traffic(otlp_env, home) == [
            "steady: Completed",
            "shaky: Failed",
            "slow: Completed",
            "steady: Completed",
            "shaky: Completed",
            "slow: Crashed",
        ]
        runs = _runs(prefect_api)
        running.wait_until_settled([run["id"] for run in runs])
        for name, errors in {"shaky": 1, "slow": 1, "steady": 0}.items():
            running.wait_for_total(errors, ERRORS, prefect_deployment_name=name)
    assert {run["work_pool_name"] for run in runs} == {POOL}
    for name in ("steady", "shaky", "slow"):
        assert Releases(home / name).version_of("live") is not None
    assert _schedule(prefect_api) == 1234.0


def _traffic(env: dict[str, str], home: Path) -> list[str]:
    """Make one round; what it says."""
    asked = ("--rounds", "1", "--home", str(home), "--nightly-every", "1234")
    done = subprocess.run(
        [sys.executable, "-m", "examples.deploy_model.traffic", *asked],
        env={
            **env,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_WEBSERVER_PORT": str(free_port()),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1000,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": " in line]


def _runs(api: str) -> list[dict[str, Any]]:
    """The runs of the worker's pool that were started."""
    asked = {
        "work_pools": {"name": {"any_": [POOL]}},
        "flow_runs": {"start_time": {"is_null_": False}},
    }
    found: list[dict[str, Any]] = httpx.post(
        f"{api}/flow_runs/filter", json=asked, timeout=60
    ).json()
    return found


def _schedule(api: str) -> float:
    """The seconds between two scheduled runs."""
    found = httpx.get(f"{api}/deployments/name/nightly/nightly", timeout=60).json()
    return float(found["schedules"][0]["schedule"]["interval"])
