"""What share of its runs a deployment should complete."""

from __future__ import annotations

from collections.abc import Mapping

from prefect_otel_status.monitoring.promql import Match, equals
from prefect_otel_status.monitoring.rules.expressions import (
    DEPLOYMENT_KEY,
    LASTING,
    latest,
    max_by,
)
from prefect_otel_status.monitoring.rules.rule import Recording
from prefect_otel_status.signals import DEPLOYMENT, PIPELINE_NAME, RUN_ACTIVE

OBJECTIVE = "deployment:prefect_status_objective:ratio"
DEFAULT = 0.95


def objective(objectives: Mapping[str, float]) -> Recording:
    """Record the objective of every deployment that the bridge knows, busy or not.

    OBJECTIVES has those that are not the default, by `flow/deployment`. Raises
    `ValueError` that says what to write instead.
    """
    own = [_share(value, *_key(name, value)) for name, value in objectives.items()]
    return Recording(OBJECTIVE, "\nor\n".join([*own, _share(DEFAULT)]))


def _key(name: str, value: float) -> tuple[Match, Match]:
    flow, separator, deployment = name.partition("/")
    if not (flow and separator):
        raise ValueError(f"An objective is for `flow/deployment`, not for {name!r}.")
    if not 0 < value < 1:
        raise ValueError(
            f"The objective of {name!r} is a share between 0 and 1, not {value!r}: "
            f"write 0.99 where 99 of 100 runs should succeed."
        )
    return equals(PIPELINE_NAME, flow), equals(DEPLOYMENT, deployment)


def _share(value: float, *of: Match) -> str:
    known = max_by(DEPLOYMENT_KEY, latest(RUN_ACTIVE, *of, window=LASTING))
    return f"{value:g} + 0 * {known}"
