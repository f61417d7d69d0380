"""Who is told of which alert, by Alertmanager's own word."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from prefect_otel_status.monitoring.rules.rule import Alert
from prefect_otel_status.monitoring.stack import alertmanager, alertmanager_examples
from prefect_otel_status.monitoring.stack.inhibition import alerts, named
from tests.support.processes import beside, program
from tests.support.server import free_port, wait_for

RECEIVERS = {"critical": "page", "warning": "ticket", "info": "notice"}
FILES = {**alertmanager.files(), **alertmanager_examples.files()}


@pytest.fixture(params=FILES)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One of the files."""
    path = tmp_path / "alertmanager.yml"
    path.write_text(FILES[request.param])
    return path


def _amtool(*arguments: str) -> str:
    done = subprocess.run(
        [program("amtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_amtool_finds_nothing_wrong(config: Path) -> None:
    said = _amtool("check-config", str(config))
    assert "SUCCESS" in said
    assert " - 5 inhibit rules\n - 4 receivers\n" in said


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert.name}-{alert.severity}")
def test_an_alert_goes_where_its_severity_says(alert: Alert, tmp_path: Path) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(FILES["alertmanager/alertmanager.yml"])
    labels = [f"alertname={alert.name}", f"severity={alert.severity}"]
    told = _amtool("config", "routes", "test", f"--config.file={path}", *labels)
    watchdog = alert.name == "Watchdog"
    assert told.strip() == ("watchdog" if watchdog else RECEIVERS[alert.severity])


def test_what_is_of_no_known_severity_is_told_too(config: Path) -> None:
    told = _amtool("config", "routes", "test", f"--config.file={config}", "alertname=Other")
    assert told.strip() == "notice"


def test_an_alert_that_there_is_not_cannot_be_named() -> None:
    with pytest.raises(ValueError, match="no alert DeploymentFalling"):
        named("BridgeDown", "DeploymentFalling")


# --- one cause pages once ---------------------------------------------------------
@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Alertmanager with our configuration; its address."""
    folder = tmp_path_factory.mktemp("alertmanager")
    path = folder / "alertmanager.yml"
    path.write_text(FILES["alertmanager/alertmanager.yml"])
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={path}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with beside(command, env={}, log=folder / "alertmanager.log"):
        url = f"http://{address}/api/v2"
        wait_for(lambda: _answers(f"{url}/status"), what="Alertmanager")
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


FAST, SLOW = "DeploymentErrorBudgetBurn/critical", "DeploymentErrorBudgetBurn/warning"
FAILING, GATE = "DeploymentFailing/warning", "GateFailing/warning"
CRASHING, BURST = "RunsCrashing/warning", "StatusErrorBurst/warning"
NO_SUCCESS, DOWN = "DeploymentNoSuccess/critical", "BridgeDown/critical"
STUCK, SILENT, LATE = "RunStuck/warning", "RunSilent/warning", "RunsLate/warning"

CASES = {
    "a deployment fails": ({FAILING, SLOW, GATE, CRASHING, BURST}, {FAILING}),
    "and burns its budget fast": ({FAST, FAILING, SLOW, GATE, NO_SUCCESS}, {FAST}),
    "a page is never taken away by a warning": ({FAILING, FAST}, {FAST}),
    "no success for another reason still pages": ({FAILING, NO_SUCCESS}, {FAILING, NO_SUCCESS}),
    "crashes alone": ({CRASHING, BURST}, {CRASHING, BURST}),
    "a stuck run is silent": ({STUCK, SILENT, LATE}, {STUCK, LATE}),
    "the bridge is down": ({DOWN, FAILING, FAST, LATE, STUCK}, {DOWN}),
}
"""What fires, and of what somebody is told."""


@pytest.mark.parametrize("case", CASES)
def test_consequences_are_silent_while_their_cause_fires(running: str, case: str) -> None:
    fire, told = CASES[case]
    flow = case.replace(" ", "-")
    _fire(running, fire, flow)
    # Another deployment's alert of the same kind is nobody's consequence, unless all are blind.
    _fire(running, {BURST}, f"not-{flow}")
    wait_for(lambda: _states(running, flow).keys() == fire, what="all of them")
    states = _states(running, flow)
    assert {name for name, state in states.items() if state == "active"} == told
    assert _states(running, f"not-{flow}") == {BURST: "suppressed" if DOWN in fire else "active"}
    _resolve(running, fire, flow)


def _fire(url: str, names: set[str], flow: str, *, ends: str | None = None) -> None:
    body = [{"labels": _labels(name, flow), **({"endsAt": ends} if ends else {})} for name in names]
    assert httpx.post(f"{url}/alerts", json=body).status_code == 200


def _resolve(url: str, names: set[str], flow: str) -> None:
    # The bridge's would keep the next case silent.
    _fire(url, names, flow, ends="2020-01-01T00:00:00Z")


def _labels(name: str, flow: str) -> dict[str, str]:
    alert, _, severity = name.partition("/")
    of = {} if name == DOWN else {"prefect_deployment_name": "prod", "cicd_pipeline_name": flow}
    # So that it is found again; those about the bridge have no flow.
    return {"alertname": alert, "severity": severity, "case": flow, **of}


def _states(url: str, flow: str) -> dict[str, str]:
    found = httpx.get(f"{url}/alerts", params={"filter": f'case="{flow}"'}).json()
    return {
        f"{one['labels']['alertname']}/{one['labels']['severity']}": one["status"]["state"]
        for one in found
        if one["status"]["state"] != "unprocessed"
    }
