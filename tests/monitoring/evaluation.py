"""What a query gives over made-up series, by Prometheus' own engine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from prefect_otel_status.monitoring.inventory import concrete
from prefect_otel_status.monitoring.promql import JOB
from prefect_otel_status.signals import Metric
from tests.support.processes import program

FLOW, DEPLOYMENT, ENVIRONMENT = (
    "cicd_pipeline_name",
    "prefect_deployment_name",
    "deployment_environment_name",
)


def series(metric: Metric, *, part: str = "", **labels: str) -> str:
    """A series of METRIC of the deployment `d`, unless LABELS say another, as a scrape has it."""
    found = {FLOW: "f", DEPLOYMENT: "d", ENVIRONMENT: "prod"}
    found = {name: value for name, value in found.items() if name in metric.label_names}
    found |= labels
    assert found.keys() <= {*metric.label_names, "le"}
    name = metric.prometheus_name + (f"_{part}" if part else "")
    return selector(name, {**found, "job": JOB, "instance": JOB})


def of(deployment: str = "d", **labels: str) -> str:
    """The labels of a result: of DEPLOYMENT, with LABELS."""
    return selector("", {FLOW: "f", DEPLOYMENT: deployment, ENVIRONMENT: "prod", **labels})


def selector(name: str, labels: Mapping[str, str]) -> str:
    """NAME with LABELS, in the order in which Prometheus prints them."""
    inside = ", ".join(f'{label}="{labels[label]}"' for label in sorted(labels))
    return f"{name}{{{inside}}}"


def gives(
    folder: Path, expression: str, given: Mapping[str, str], *, at: str = "1h", **filled: Any
) -> dict[str, float]:
    """What EXPRESSION gives AT a time, by labels, rounded; GIVEN has a sample a minute."""
    # promtool compares and does not tell; what cannot be makes it say what there is.
    impossible = [{"labels": 'never{never="never"}', "value": 0}]
    text = f"round({concrete(expression, **filled)}, 0.001)"
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in given.items()],
        "promql_expr_test": [{"expr": text, "eval_time": at, "exp_samples": impossible}],
    }
    file = folder / "expression.yml"
    file.write_text(yaml.safe_dump({"tests": [test]}), encoding="utf-8")
    command = [program("promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return _read(done.stderr + done.stdout)


_SAMPLE = re.compile(r'(\{(?:\w+="(?:[^"\\]|\\.)*"(?:, )?)*\}) (\S+?)(?:, |$)')


def _read(told: str) -> dict[str, float]:
    """The samples that promtool got: labels and values on one line, or `nil`."""
    _, _, got = told.partition("got: ")
    assert got, told
    line = got.splitlines()[0]
    found = {labels: float(value) for labels, value in _SAMPLE.findall(line)}
    assert found or line == "nil", told
    return found
