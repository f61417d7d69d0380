"""Servers and collectors that go away, and runs that do: nothing is lost, nothing is twice."""

from __future__ import annotations

import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

from prefect_otel_status import signals
from tests.conftest import ROOT
from tests.support.bridge import Bridge, bridge, stored
from tests.support.collector import HANG, requests_of, span_names
from tests.support.making import COMPLETED, CRASHED, FAILED, Maker, maker
from tests.support.processes import beside, end
from tests.support.receiver import Received
from tests.support.server import environment, free_port, wait_for

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

ACTIVE = "cicd_pipeline_run_active"
ERRORS = "cicd_pipeline_run_errors_total"
TRANSITIONS = "prefect_flow_run_transitions_total"
SECRET = "admin:open-sesame"


@pytest.fixture
def runs(prefect_api: str) -> Iterator[Maker]:
    with maker(prefect_api) as made:
        yield made


# --- the server ------------------------------------------------------------------


@contextmanager
def guarded_server(home: Path, port: int) -> Iterator[str]:
    """A server on PORT that wants a password and CSRF tokens; killed at the end."""
    env = environment(
        home,
        PREFECT_SERVER_API_AUTH_STRING=SECRET,
        PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED="true",
    )
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with beside([*command, "--host", "127.0.0.1"], env=env, log=home / "server.log") as process:
        address = f"http://127.0.0.1:{port}/api"
        wait_for(lambda: _answers(f"{address}/health"), timeout=90, what="Prefect's server")
        yield address
        end(process, signal.SIGKILL)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, auth=_credentials(), timeout=60).status_code == 200
    except httpx.TransportError:
        return False


def _credentials() -> tuple[str, str]:
    name, _, password = SECRET.partition(":")
    return name, password


@contextmanager
def _making(address: str) -> Iterator[Maker]:
    client = {"client": "tests"}
    token = httpx.get(
        f"{address}/csrf-token", params=client, auth=_credentials(), timeout=60
    ).json()["token"]
    headers = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client["client"]}
    with maker(address, auth=_credentials(), headers=headers) as made:
        yield made


@pytest.mark.fault(13, 20)
def test_a_guarded_server_that_is_down_at_first_and_dies_later_is_read_whole(
    received: Received, tmp_path: Path
) -> None:
    port = free_port()
    env = environment(
        tmp_path,
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_API_AUTH_STRING=SECRET,
        OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    with bridge(env, tmp_path / "bridge") as running:
        wait_for(lambda: "broke off" in running.log, timeout=60, what="the bridge's complaint")
        assert running.page("/readyz")["ready"] is False
        with guarded_server(tmp_path, port) as address, _making(address) as runs:
            running.wait_ready(timeout=60)
            flow, ended = runs.flow, [runs.run(FAILED)]
            running.wait_until_settled(ended)
            _wait_until_connected(running, 1)
            left = runs.begin()
            wait_for(lambda: running.run(left).get("state_type") == "RUNNING", what="the run")
        _wait_until_connected(running, 0)
        with guarded_server(tmp_path, port) as address, _making(address) as runs:
            runs.set_state(left, FAILED)
            ended += [left, runs.run(FAILED)]
            running.wait_until_settled(ended)
            running.wait_for_total(2, ERRORS, cicd_pipeline_name=flow)
            running.wait_for_total(1, ERRORS, cicd_pipeline_name=runs.flow)
            _wait_until_connected(running, 1)
            assert running.stop() == 0
    assert SECRET.partition(":")[2] not in running.log
    _assert_seldom(running.log)


def _wait_until_connected(running: Bridge, connected: float) -> None:
    # It waits up to half a minute between two tries.
    name = signals.BRIDGE_CONNECTED.prometheus_name
    wait_for(
        lambda: [v for (n, _), v in running.scrape().items() if n == name] == [connected],
        timeout=60,
        what=f"{name} at {connected:g}",
    )


def _assert_seldom(log: str) -> None:
    """Of each thing that breaks, a line when it breaks, one a minute, and one when it is back."""
    for what in ("The stream of Prefect's events", "Reading Prefect's history"):
        lines = [line for line in log.splitlines() if what in line]
        assert sum("broke off" in line for line in lines) == 2, log
        assert sum("is back" in line for line in lines) == 2, log
        # It was away twice, for less than two minutes each time.
        assert sum("is away" in line for line in lines) <= 2, log


# --- the collector ---------------------------------------------------------------


def _collector(port: int, folder: Path) -> AbstractContextManager[Popen[bytes]]:
    command = [sys.executable, "-m", "tests.support.collector", str(port), str(folder)]
    return beside(command, env=environment(folder), log=folder / "collector.log", cwd=ROOT)


@pytest.mark.fault(1, 6)
def test_a_collector_that_is_down_and_one_that_dies_in_mid_batch_lose_nothing(
    flow_env: dict[str, str], runs: Maker, tmp_path: Path
) -> None:
    port = free_port()
    env = {
        **flow_env,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    with bridge(env, tmp_path, backfill="0s") as running, ExitStack() as stack:
        running.wait_ready(timeout=90)
        ended = [runs.run(FAILED) for _ in range(3)]
        running.wait_until_settled(ended)
        assert running.total("prefect_status_bridge_outbox_items") >= 3

        (tmp_path / HANG).touch()
        collector = stack.enter_context(_collector(port, tmp_path))
        wait_for(lambda: requests_of(tmp_path), timeout=90, what="a first request")
        end(collector, signal.SIGKILL)  # it has the batch, and never said so
        (tmp_path / HANG).unlink()
        stack.enter_context(_collector(port, tmp_path))
        running.wait_for_outbox(0, timeout=90)
    first, *rest = requests_of(tmp_path)
    assert first == rest[0], "what is sent again is the same to the bit"
    names = [name for request in rest for name in span_names(request)]
    assert names.count(f"RUN {runs.flow}") == 3


# --- the runs --------------------------------------------------------------------


@pytest.mark.fault(35)
def test_runs_that_are_deleted_let_no_counter_fall_and_leave_no_gauge(
    otlp_env: dict[str, str], runs: Maker, tmp_path: Path
) -> None:
    with bridge(otlp_env, tmp_path) as running:
        running.wait_ready(timeout=90)
        over, active = runs.run(CRASHED), runs.begin()
        running.wait_until_settled([over])
        running.wait_for_total(1, ERRORS, cicd_pipeline_name=runs.flow)
        running.wait_for_total(1, ACTIVE, cicd_pipeline_name=runs.flow)
        running.wait_for_total(5, TRANSITIONS, cicd_pipeline_name=runs.flow)
        runs.delete(over)
        runs.delete(active)
        wait_for(
            lambda: running.run(active).get("phase") != "active", what="the end of the deleted run"
        )
        assert running.total(ACTIVE, cicd_pipeline_name=runs.flow) == 0
        assert running.total(ERRORS, cicd_pipeline_name=runs.flow) == 1
        assert running.total(TRANSITIONS, cicd_pipeline_name=runs.flow) == 5


MANY = 210
"""More than a page of runs holds."""


@pytest.mark.long
@pytest.mark.fault(21)
def test_more_runs_than_a_page_that_ended_in_one_moment_are_all_counted(
    flow_env: dict[str, str], runs: Maker, prefect_home: Path, tmp_path: Path
) -> None:
    with bridge(flow_env, tmp_path) as running:
        running.wait_ready(timeout=90)
        assert running.stop() == 0  # so that it must find them by the time of their end
        ended = [runs.over(COMPLETED) for _ in range(MANY)]
        assert _end_at_once(prefect_home / "prefect.db", runs.flow_id) == MANY
        running.start()
        running.wait_ready(timeout=90)
        running.wait_until_settled(ended, timeout=120)
        assert running.stop() == 0
    of_run = (runs.flow, "", "")
    found = stored(running.store)
    assert found[signals.TRANSITIONS.name, (*of_run, "COMPLETED", "Completed")] == MANY


def _end_at_once(database: Path, flow_id: str) -> int:
    """Let all runs of the flow have ended in one moment, which no call can; how many there are."""
    last = "SELECT max(end_time) FROM flow_run WHERE flow_id = :flow"
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        statement = f"UPDATE flow_run SET end_time = ({last}) WHERE flow_id = :flow"
        return connection.execute(statement, {"flow": flow_id}).rowcount
