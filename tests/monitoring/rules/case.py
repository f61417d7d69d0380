"""A case for promtool: what was scraped, and which alerts must fire, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from prefect_otel_status.monitoring.links import Links
from tests.monitoring.rules.series import Series, Window, notation

SCRAPE = 14.9
"""Seconds. Not 15, so that no sample lies on the border of a window: Prometheus 3 leaves the
older border out and Prometheus 2 does not. So both must agree, as they nearly always do where
scrapes come at any moment."""

_LINKS = Links()


@dataclass(frozen=True)
class Fired:
    """An alert, whole. DASHBOARD and STATUS are what follows the address of each."""

    labels: Mapping[str, str]
    summary: str
    description: str
    dashboard: str
    status: str = ""


@dataclass(frozen=True)
class Case:
    """ALERT as it is AT some minutes: as FIRED says, or silent.

    The scrapes within AWAY failed or found nothing. COVERS names what the
    alert must be silent about.
    """

    alert: str
    name: str
    series: tuple[Series, ...]
    at: tuple[float, ...]
    fired: tuple[Fired, ...] = ()
    covers: tuple[str, ...] = ()
    away: tuple[Window, ...] = ()
    scrape: float = SCRAPE
    evaluate: str = "1m"


def promtool_file(cases: Iterable[Case], rules: str, groups: list[str]) -> str:
    """CASES, which share an interval of evaluation, as a file for promtool.

    RULES is the file with the rules, and GROUPS the order in which they are evaluated.
    """
    known = list(cases)
    content = {
        "rule_files": [rules],
        "evaluation_interval": known[0].evaluate,
        "group_eval_order": groups,
        "tests": [_test(case) for case in known],
    }
    return yaml.safe_dump(content, sort_keys=False, width=100)


def _test(case: Case) -> dict[str, Any]:
    minutes = [i * case.scrape / 60 for i in range(int(max(case.at) * 60 / case.scrape) + 2)]
    return {
        "name": f"{case.alert}: {case.name}",
        "interval": f"{round(case.scrape * 1000)}ms",
        "input_series": [
            {"series": series.name, "values": notation(series, minutes, case.away)}
            for series in case.series
        ],
        "alert_rule_test": [
            {
                "eval_time": f"{round(minute * 60)}s",
                "alertname": case.alert,
                "exp_alerts": [_expected(case.alert, fired) for fired in case.fired],
            }
            for minute in case.at
        ],
    }


def _expected(alert: str, fired: Fired) -> dict[str, Any]:
    annotations = {
        "summary": fired.summary,
        "description": fired.description,
        "runbook_url": f"{_LINKS.bridge}/runbooks/{alert}",
        "dashboard_url": f"{_LINKS.grafana}/d/{fired.dashboard}",
    }
    status = {"status_url": f"{_LINKS.bridge}/deployments{fired.status}"} if fired.status else {}
    return {"exp_labels": dict(fired.labels), "exp_annotations": {**annotations, **status}}
