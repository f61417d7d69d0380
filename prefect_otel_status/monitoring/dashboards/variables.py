"""The variables of the dashboards: what is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from prefect_otel_status import signals
from prefect_otel_status.monitoring.promql import JOB
from prefect_otel_status.signals import Attribute, Metric

Variable: TypeAlias = Any
"""A builder of the SDK's, which is not typed for Python 3.10."""

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
JAEGER = model.DataSourceRef(type_val="jaeger", uid="${jaeger}")
LOKI = model.DataSourceRef(type_val="loki", uid="${loki}")

WINDOWS = ("5m", "15m", "1h", "6h", "1d", "7d")

# `label_values` of these: a bridge that is idle has the first, a flow's process the second.
_ANY = (signals.BRIDGE_LAG, signals.MESSAGES)
_OF_DEPLOYMENTS = (signals.RUN_ACTIVE, signals.MESSAGES)


@dataclass(frozen=True)
class Choice:
    """Which of the usual variables a dashboard shows; the others are carried along unseen."""

    jaeger: bool = False
    deployments: bool = True
    window: bool = True


def usual(choice: Choice) -> list[Variable]:
    """The variables that every dashboard has, so that a link between two loses none."""
    return [
        _source("datasource", "Prometheus", "prometheus", shown=True),
        _source("jaeger", "Jaeger", "jaeger", shown=choice.jaeger),
        _job(),
        *_deployments(shown=choice.deployments),
        _window(shown=choice.window),
    ]


def _source(name: str, label: str, kind: str, *, shown: bool) -> Variable:
    return (
        build.DatasourceVariable(name)
        .label(label)
        .type(kind)
        .current(model.VariableOption(text=label, value=kind))
        .hide(_hide(shown=shown))
    )


def loki() -> Variable:
    """Where log events are, if anywhere."""
    return _source("loki", "Loki", "loki", shown=True)


def _hide(*, shown: bool) -> model.VariableHide:
    return model.VariableHide.DONT_HIDE if shown else model.VariableHide.HIDE_VARIABLE


def _job() -> Variable:
    return (
        _query("job", "Job", "job", _selector(_ANY))
        .description("The scrape job that is looked at: one, or each run would count twice.")
        .current(model.VariableOption(text=JOB, value=JOB))
    )


def _deployments(*, shown: bool) -> list[Variable]:
    found: list[Variable] = []
    above = ['job=~"$job"']
    for name, attribute in (
        ("environment", signals.ENVIRONMENT),
        ("flow", signals.PIPELINE_NAME),
        ("deployment", signals.DEPLOYMENT),
    ):
        found.append(_many(name, attribute, above, shown=shown))
        above = [*above, f'{attribute.label}=~"${name}"']
    return found


def _many(name: str, attribute: Attribute, above: Sequence[str], *, shown: bool) -> Variable:
    # `.*` and not `.+`: a run without a deployment, or of which nobody bound an
    # environment, has no such label.
    return (
        _query(name, name.capitalize(), attribute.label, _selector(_OF_DEPLOYMENTS, *above))
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(text=["All"], value=["$__all"]))
        .hide(_hide(shown=shown))
    )


def _selector(metrics: Sequence[Metric], *matchers: str) -> str:
    names = "|".join(metric.prometheus_name for metric in metrics)
    return "{" + ", ".join([f'__name__=~"{names}"', *matchers]) + "}"


def _query(name: str, label: str, wanted: str, selector: str) -> build.QueryVariable:
    query: dict[str, object] = {
        "qryType": 1,
        "query": f"label_values({selector}, {wanted})",
        "refId": "PrometheusVariableQueryEditor-VariableQuery",
    }
    return (
        build.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(PROMETHEUS)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )


def _window(*, shown: bool) -> Variable:
    return (
        build.CustomVariable("window")
        .label("Window")
        .description(
            "Over how long each point of a curve about runs is taken. Longer than the time between "
            "two runs, or the curve has gaps; a long one over many deployments takes its time."
        )
        .values(",".join(WINDOWS))
        .current(model.VariableOption(text="1h", value="1h"))
        .hide(_hide(shown=shown))
    )


def text_box(name: str, label: str, description: str) -> Variable:
    """A variable that is typed or pasted."""
    return build.TextBoxVariable(name).label(label).description(description).default_value("")


def service() -> Variable:
    """The service whose traces are searched: by default each deployment's name is one."""
    selector = _selector(_OF_DEPLOYMENTS, 'job=~"$job"', *_chosen_deployment())
    return (
        _query("service", "Service in Jaeger", signals.DEPLOYMENT.label, selector)
        .description(
            "The service.name of the run's process: its deployment's, or what OTEL_SERVICE_NAME "
            "says there, which can be typed here."
        )
        .allow_custom_value(True)
    )


def _chosen_deployment() -> list[str]:
    flow, deployment = signals.PIPELINE_NAME.label, signals.DEPLOYMENT.label
    return [f'{flow}=~"$flow"', f'{deployment}=~"$deployment"']
