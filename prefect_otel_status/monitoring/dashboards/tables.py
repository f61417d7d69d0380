"""Tables: a row for each combination of labels, a column for each query, merged by the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import dashboard as model

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import panels, variables, ways
from prefect_otel_status.monitoring.dashboards.panels import Steps, Words, for_table
from prefect_otel_status.monitoring.dashboards.ways import Way
from prefect_otel_status.signals import Attribute

Names = Mapping[str, tuple[str, str]]
"""Values of a column, with what is shown for them and in which colour."""


@dataclass(frozen=True)
class Label:
    """A column with the values of a label."""

    attribute: Attribute
    title: str
    names: Names = field(default_factory=dict)
    ways: Sequence[Way] = ()
    width: int = 0


@dataclass(frozen=True)
class Value:
    """A column with the values of a query, whose labels are columns or are dropped by it."""

    expression: str
    title: str
    unit: str
    steps: Steps | None = None
    decimals: int | None = None
    width: int = 0


Column = Label | Value

FLOW = Label(signals.PIPELINE_NAME, ways.FLOW)
DEPLOYMENT = Label(signals.DEPLOYMENT, ways.DEPLOYMENT)
ENVIRONMENT = Label(signals.ENVIRONMENT, ways.ENVIRONMENT, width=110)


def of_deployments(out: Sequence[Way]) -> list[Column]:
    """The columns that name a deployment, with the ways OUT of it."""
    return [
        Label(FLOW.attribute, FLOW.title, ways=out),
        Label(DEPLOYMENT.attribute, DEPLOYMENT.title, ways=out),
        ENVIRONMENT,
    ]


def table_of(
    words: Words, columns: Sequence[Column], *, sort: str = "", descending: bool = True
) -> Any:
    """A table that can be sorted, filtered by each column and paged through."""
    values = [column for column in columns if isinstance(column, Value)]
    refs = dict(zip((value.title for value in values), ascii_uppercase, strict=False))
    panel = (
        table.Panel()
        .title(words.title)
        .description(words.description)
        .datasource(variables.PROMETHEUS)
        .filterable(True)
        .footer(common.TableFooterOptions().show(False).enable_pagination(True))
    )
    for value in values:
        panel = panel.with_target(for_table(value.expression, refs[value.title]))
    for column in columns:
        panel = panel.override_by_name(column.title, _properties(column))
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
    return panel.transformations([_merged(), _organized(columns, refs)])


def _merged() -> model.DataTransformerConfig:
    return model.DataTransformerConfig(id_val="merge", options={})


def _organized(columns: Sequence[Column], refs: Mapping[str, str]) -> model.DataTransformerConfig:
    """Columns in their order, under their titles; the time is that of the query, and hidden."""
    fields = [_fields(column, refs) for column in columns]
    order = {name: place for place, names in enumerate(fields) for name in names}
    titles = {
        name: column.title for column, names in zip(columns, fields, strict=True) for name in names
    }
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": titles}
    return model.DataTransformerConfig(id_val="organize", options=options)


def _fields(column: Column, refs: Mapping[str, str]) -> list[str]:
    """The names under which the data has COLUMN. That of a lone query carries no letter."""
    if isinstance(column, Label):
        return [column.attribute.label]
    letter = refs[column.title]
    return [f"Value #{letter}", *(["Value"] if len(refs) == 1 else [])]


def _properties(column: Column) -> list[model.DynamicConfigValue]:
    found = [model.DynamicConfigValue("custom.width", column.width)] if column.width else []
    return found + (_of_label(column) if isinstance(column, Label) else _of_value(column))


def _of_label(column: Label) -> list[model.DynamicConfigValue]:
    found = []
    if column.names:
        found.append(model.DynamicConfigValue("mappings", [panels.value_map(column.names)]))
        found.append(_colored())
    if column.ways:
        found.append(panels.links_of(column.ways))
    return found


def _of_value(column: Value) -> list[model.DynamicConfigValue]:
    found = [model.DynamicConfigValue("unit", column.unit)]
    if column.decimals is not None:
        found.append(model.DynamicConfigValue("decimals", column.decimals))
    if column.steps:
        steps = panels.thresholds(column.steps).build()
        found.append(model.DynamicConfigValue("thresholds", steps))
        found.append(_colored())
    return found


def _colored() -> model.DynamicConfigValue:
    return model.DynamicConfigValue("custom.cellOptions", {"type": "color-background"})
