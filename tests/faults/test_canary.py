"""A secret in every place where a user can put one, searched for in every byte that we write."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import run_flow
from tests.support.bridge import Bridge, bridge

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

PAGES = ("/", "/deployments?flow=canary&deployment=", "/runs/{run}")
DATA = ("/metrics", "/api/deployments", "/api/runs/{run}", "/readyz")


@pytest.fixture
def secret() -> str:
    return secrets.token_hex(20)


def answers(running: Bridge, run_id: str) -> Iterator[tuple[str, str]]:
    """What the bridge answers to everybody who may ask."""
    for path in (*PAGES, *DATA):
        address = running.address + path.format(run=run_id)
        headers = {"Accept": "text/html" if path in PAGES else "*/*"}
        answer = httpx.get(address, headers=headers, timeout=60)
        assert answer.status_code == 200, (path, answer.text[:500])
        yield path, answer.text


def files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


def test_a_secret_is_in_no_byte_that_we_write_or_answer(
    flow_env: dict[str, str], secret: str, tmp_path: Path
) -> None:
    ours = tmp_path / "bridge"
    env = {**flow_env, "PREFECT_OTEL_STATUS_BRIDGE_LOGS": "true"}
    with bridge(env, ours) as running:
        running.wait_ready(timeout=90)
        done = run_flow("canary.py", env={**env, "CANARY": secret}, check=False)
        assert done.returncode != 0  # its own exception passes unchanged, secret and all
        run_id = _run_id(flow_env)
        running.wait_until_settled([run_id])
        running.wait_for_outbox(0)
        told = dict(answers(running, run_id))
        # What is searched does tell of the run; else nothing would be found in it anyway.
        assert "[redacted" in told["/runs/{run}"]
        assert "ConnectionError" in told["/deployments?flow=canary&deployment="]
        running.stop()
    leaks = [path for path, text in told.items() if secret in text]
    written = list(files(ours, tmp_path / "telemetry"))
    assert {path.name for path in written} >= {"bridge.db", "traces.jsonl", "logs.jsonl"}
    leaks += [str(path) for path in written if secret.encode() in path.read_bytes()]
    leaks += ["our log"] if secret in running.log else []
    assert leaks == []


def _run_id(env: dict[str, str]) -> str:
    """The id of the canary's run; its name holds the secret, so by the flow's."""
    query = {"flows": {"name": {"any_": ["canary"]}}, "sort": "START_TIME_DESC", "limit": 1}
    answer = httpx.post(f"{env['PREFECT_API_URL']}/flow_runs/filter", json=query, timeout=60)
    run_id: str = answer.json()[0]["id"]
    return run_id
