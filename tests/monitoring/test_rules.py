"""The rules, as promtool sees them: they are valid, each alert fires, and each is silent."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.rules import files
from tests.monitoring.rules import cases_bridge, cases_deployments, cases_runs, cases_workers
from tests.monitoring.rules.case import Case, promtool_file
from tests.monitoring.rules.names import unknown_in
from tests.support.processes import program

DASHBOARDS = Path(__file__).parents[2] / "dashboards" / "grafana"
CASES = (
    *cases_deployments.CASES,
    *cases_runs.CASES,
    *cases_workers.CASES,
    *cases_bridge.CASES,
)
SITUATIONS = {
    "missed scrape",
    "restart",
    "takeover",
    "backfill",
    "new deployment",
    "low traffic",
    "paused",
}
ALWAYS_FIRES = "Watchdog"
LINKS = Links()
RULES = {name: yaml.safe_load(text)["groups"] for name, text in files(LINKS).items()}


def _rules(kind: str) -> list[dict[str, Any]]:
    return [
        rule for groups in RULES.values() for group in groups for rule in group["rules"]
        if kind in rule
    ]  # fmt: skip


ALERTS = _rules("alert")
RECORDED = {rule["record"] for rule in _rules("record")}
NAMES = sorted({rule["alert"] for rule in ALERTS})


# --- promtool -------------------------------------------------------------------
def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Another release than the installed one: PROMTOOL=/path/to/promtool.
    command = [program(os.environ.get("PROMTOOL", "promtool")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def _needed(alert: str) -> list[dict[str, Any]]:
    """The groups with the rules of ALERT, and those that they read, and those that these read."""
    wanted = {alert}
    for rule in reversed(_rules("record") + _rules("alert")):
        if {rule.get("alert"), rule.get("record")} & wanted:
            wanted |= {name for name in RECORDED if name in rule["expr"]}
    groups = [group for groups in RULES.values() for group in groups]
    return [
        {**group, "rules": kept}
        for group in groups
        if (kept := [r for r in group["rules"] if {r.get("alert"), r.get("record")} & wanted])
    ]


def _write(folder: Path, cases: Iterable[Case]) -> Iterator[str]:
    """CASES as files for promtool, one for each alert and interval of evaluation.

    Each goes with the rules that the alert needs: promtool evaluates all that
    it is given, at every step of every case.
    """
    ordered = sorted(cases, key=_file_of)
    for (alert, evaluate), found in groupby(ordered, key=_file_of):
        groups = _needed(alert)
        rules = folder / f"{alert}.yml"
        rules.write_text(yaml.safe_dump({"groups": groups}))
        path = folder / f"{alert}-every-{evaluate}.test.yml"
        names = [group["name"] for group in groups]
        path.write_text(promtool_file(found, rules.name, names))
        yield str(path)


def _file_of(case: Case) -> tuple[str, str]:
    return case.alert, case.evaluate


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    for name, text in files(LINKS).items():
        path = tmp_path / Path(name).name
        path.write_text(text)
        done = _promtool("check", "rules", str(path))
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_and_is_silent_as_its_cases_say(tmp_path: Path) -> None:
    done = _promtool("test", "rules", *_write(tmp_path, CASES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_that_does_not_hold_is_found(tmp_path: Path) -> None:
    fires = next(case for case in CASES if case.fired)
    silent = Case(fires.alert, "wrongly silent", fires.series, at=fires.at)
    done = _promtool("test", "rules", *_write(tmp_path, [silent]))
    assert (done.returncode, "wrongly silent" in done.stdout + done.stderr) == (1, True)


# --- every alert ----------------------------------------------------------------
def test_every_alert_has_a_case_that_fires_it() -> None:
    assert sorted({case.alert for case in CASES if case.fired}) == NAMES


def test_every_alert_has_a_case_in_which_it_is_silent() -> None:
    silent = {case.alert for case in CASES if not case.fired}
    assert sorted(silent | {ALWAYS_FIRES}) == NAMES


def test_every_severity_of_an_alert_has_fired() -> None:
    fired = {(case.alert, one.labels["severity"]) for case in CASES for one in case.fired}
    assert fired == {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}


def test_what_must_be_silent_is() -> None:
    assert {
        situation for case in CASES if not case.fired for situation in case.covers
    } == SITUATIONS


@pytest.mark.parametrize("alert", [name for name in NAMES if name != ALWAYS_FIRES])
def test_no_alert_minds_what_happens_to_the_bridge(alert: str) -> None:
    covered = {s for case in CASES if case.alert == alert and not case.fired for s in case.covers}
    assert covered >= {"missed scrape", "restart", "takeover"}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']}")
def test_each_alert_says_how_urgent_it_is_and_where_to_go(rule: dict[str, Any]) -> None:
    annotations, name = rule["annotations"], rule["alert"]
    of_deployment = "cicd_pipeline_name" in annotations["summary"]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert annotations["runbook_url"] == f"{LINKS.bridge}/runbooks/{name}"
    assert re.match(rf"{LINKS.grafana}/d/prefect-[a-z]+", annotations["dashboard_url"])
    assert ("status_url" in annotations) is of_deployment
    assert ("?var-flow=" in annotations["dashboard_url"]) is of_deployment


def test_links_lead_where_they_are_told_to() -> None:
    links = Links(grafana="https://g.example", bridge="https://b.example", runbooks="https://w/r")
    text = files(links)["prometheus/alerts.yml"]
    assert "127.0.0.1" not in text
    assert text.count("runbook_url: https://w/r/") == len(ALERTS)


# --- expressions ----------------------------------------------------------------
@pytest.mark.parametrize(
    "rule", [*ALERTS, *_rules("record")], ids=lambda rule: rule.get("alert") or rule["record"]
)
def test_each_expression_names_only_what_exists(rule: dict[str, Any]) -> None:
    assert unknown_in(rule["expr"], records=RECORDED) == []


def test_what_does_not_exist_is_found() -> None:
    wrong = (
        "sum by (flow) (prefect_flow_run_late{pool='x'}) / on (pool) group_left (colour) nothing"
        " + prefect_status_bridge_lag_seconds{job='prefect-otel-bridge'}"
    )
    assert unknown_in(wrong, records=()) == [
        "pool",
        "prefect_flow_run_late without a job",
        "nothing",
        "colour",
        "flow",
        "pool",
    ]


def test_every_record_is_named_as_it_is_usual() -> None:
    assert [name for name in RECORDED if not re.fullmatch(r"[a-z]+:[a-z_]+:[a-z0-9_]+", name)] == []


def test_every_dashboard_that_an_alert_leads_to_exists() -> None:
    links = [rule["annotations"]["dashboard_url"] for rule in ALERTS]
    wanted = {link.removeprefix(f"{LINKS.grafana}/d/").partition("?")[0] for link in links}
    assert [uid for uid in wanted if not (DASHBOARDS / f"{uid}.json").is_file()] == []


# --- objectives -----------------------------------------------------------------
def _objective(objectives: dict[str, float]) -> str:
    groups = yaml.safe_load(files(LINKS, objectives=objectives)["prometheus/recording.yml"])
    expression: str = groups["groups"][0]["rules"][0]["expr"]
    return expression


def test_a_deployment_has_the_objective_that_it_was_given() -> None:
    assert _objective({"deploy-model/nightly": 0.999, "clean-up/": 0.5}).splitlines() == [
        _known("0.999", ', cicd_pipeline_name="deploy-model", prefect_deployment_name="nightly"'),
        "or",
        _known("0.5", ', cicd_pipeline_name="clean-up", prefect_deployment_name=""'),
        "or",
        _known("0.95", ""),
    ]


def _known(value: str, matchers: str) -> str:
    return (
        f"{value} + 0 * max by (cicd_pipeline_name, prefect_deployment_name) (last_over_time("
        f'cicd_pipeline_run_active{{job="prefect-otel-bridge"{matchers}}}[10m]))'
    )


@pytest.mark.parametrize("value", [0, 1, 95, -0.5, float("nan")])
def test_an_objective_that_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, not .*: write 0\.99"):
        _objective({"deploy-model/nightly": value})


@pytest.mark.parametrize("name", ["deploy-model", "", "/nightly"])
def test_an_objective_without_a_deployment_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is for `flow/deployment`, not for"):
        _objective({name: 0.99})
