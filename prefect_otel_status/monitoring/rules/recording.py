"""All recording rules."""

from __future__ import annotations

from collections.abc import Mapping

from prefect_otel_status.monitoring.rules.budget import budget_groups
from prefect_otel_status.monitoring.rules.errors_said import said
from prefect_otel_status.monitoring.rules.gates import gates
from prefect_otel_status.monitoring.rules.objectives import objective
from prefect_otel_status.monitoring.rules.rule import Group
from prefect_otel_status.monitoring.rules.schedule import schedule
from prefect_otel_status.monitoring.rules.usual import usual


def recording_groups(objectives: Mapping[str, float]) -> tuple[Group, ...]:
    """The groups, each after those that it reads. OBJECTIVES are by `flow/deployment`."""
    objective_group = Group("prefect-objectives", (objective(objectives),))
    return (objective_group, *budget_groups(), usual(), schedule(), gates(), said())
