"""The kinds of panels, each with the looks that all of its kind share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model
from grafana_foundation_sdk.models import text as text_model

from prefect_otel_status.monitoring.dashboards.variables import PROMETHEUS
from prefect_otel_status.monitoring.dashboards.ways import Way

GREEN, YELLOW, ORANGE, RED, GREY, BLUE = "green", "yellow", "orange", "red", "text", "blue"

POINTS = 150
"""Points of a curve whose points are each taken over a window: more would say the same again,
and a quantile of many deployments costs about as much as it has points."""

Steps = Mapping[float, str]
"""From which value on which colour holds; below the first it is green."""


@dataclass(frozen=True)
class Words:
    """The title of a panel, and its description: what it shows, what to do when it is red."""

    title: str
    description: str


@dataclass(frozen=True)
class Line:
    """A query of a panel and how its series are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Look:
    """How the values of a panel are shown."""

    unit: str
    steps: Steps = field(default_factory=dict)
    decimals: int | None = None
    low: float | None = None
    high: float | None = None


# --- queries -------------------------------------------------------------------
def over_time(line: Line, ref: str, *, exemplars: bool = False) -> prometheus.Dataquery:
    """A query for each point of the range that is shown."""
    return (
        prometheus.Dataquery()
        .ref_id(ref)
        .datasource(PROMETHEUS)
        .editor_mode(prometheus_model.QueryEditorMode.CODE)
        .expr(line.expression)
        .legend_format(line.legend or "__auto")
        .range()
        .exemplar(exemplars)
    )


def at_the_end(line: Line, ref: str) -> prometheus.Dataquery:
    """A query for the end of the range that is shown."""
    return over_time(line, ref).instant()


def for_table(expression: str, ref: str) -> prometheus.Dataquery:
    """A query for the end of the range, with the labels as columns."""
    return at_the_end(Line(expression), ref).format(prometheus_model.PromQueryFormat.TABLE)


# --- what panels share ---------------------------------------------------------
def thresholds(steps: Steps, *, first: str = GREEN) -> build.ThresholdsConfig:
    """Colours from green, or FIRST, on."""
    found = [model.Threshold(value=None, color=first)]
    found += [model.Threshold(value=value, color=color) for value, color in steps.items()]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def links_of(ways: Sequence[Way]) -> model.DynamicConfigValue:
    """WAYS as the links of a field."""
    return model.DynamicConfigValue("links", [way.as_json() for way in ways])


def dressed(panel: Any, words: Words, look: Look) -> Any:
    """PANEL with its title, its description, its unit and its colours."""
    panel = panel.title(words.title).description(words.description).datasource(PROMETHEUS)
    panel = panel.unit(look.unit).thresholds(thresholds(look.steps))
    if look.decimals is not None:
        panel = panel.decimals(look.decimals)
    if look.low is not None:
        panel = panel.min(look.low)
    return panel.max(look.high) if look.high is not None else panel


def _linked(panel: Any, ways: Sequence[Way]) -> Any:
    return panel.override_by_field_type("number", [links_of(ways)]) if ways else panel


def _targets(panel: Any, lines: Sequence[Line], *, exemplars: bool = False) -> Any:
    for ref, line in zip("ABCDEFGH", lines, strict=False):
        panel = panel.with_target(over_time(line, ref, exemplars=exemplars))
    return panel


# --- kinds of panels -----------------------------------------------------------
def number(words: Words, look: Look, expression: str, *, ways: Sequence[Way] = ()) -> Any:
    """One number for the end of the range, on its colour if it has any."""
    mode = common_model.BigValueColorMode
    panel = (
        stat.Panel()
        .with_target(at_the_end(Line(expression), "A"))
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .color_mode(mode.BACKGROUND if look.steps else mode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _linked(dressed(panel, words, look), ways)


def curves(
    words: Words,
    look: Look,
    *lines: Line,
    exemplars: bool = False,
    ways: Sequence[Way] = (),
) -> Any:
    """Lines over time, with thresholds drawn in and a legend that sorts."""
    panel = _targets(timeseries.Panel(), lines, exemplars=exemplars)
    panel = (
        panel.legend(_legend())
        .tooltip(_tooltip())
        .fill_opacity(8)
        .line_width(1)
        .show_points(common_model.VisibilityMode.AUTO)
        .thresholds_style(_drawn(look))
    )
    return _linked(dressed(panel, words, look), ways)


def over_window(
    words: Words, look: Look, line: Line, *, exemplars: bool = False, ways: Sequence[Way] = ()
) -> Any:
    """A curve of which each point is taken over the window; so it has no more than `POINTS`."""
    panel = curves(words, look, line, exemplars=exemplars, ways=ways)
    return panel.max_data_points(POINTS)


def bars(
    words: Words, look: Look, *lines: Line, exemplars: bool = False, ways: Sequence[Way] = ()
) -> Any:
    """Stacked bars: what happened in each interval.

    Of a minute at least, against which the scrape more that `RATE` takes is little.
    """
    return (
        curves(words, look, *lines, exemplars=exemplars, ways=ways)
        .draw_style(common_model.GraphDrawStyle.BARS)
        .fill_opacity(70)
        .stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
        .interval("1m")
    )


def stacked(words: Words, look: Look, *lines: Line, ways: Sequence[Way] = ()) -> Any:
    """Areas over time, one on the other: parts of a whole."""
    return (
        curves(words, look, *lines, ways=ways)
        .fill_opacity(40)
        .stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    )


def colored(panel: Any, colors: Mapping[str, str]) -> Any:
    """PANEL with fixed COLORS for the series of these names."""
    for name, color in colors.items():
        fixed = model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})
        panel = panel.override_by_name(name, [fixed])
    return panel


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_model.LegendDisplayMode.TABLE)
        .placement(common_model.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )


def _tooltip() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions()
        .mode(common_model.TooltipDisplayMode.MULTI)
        .sort(common_model.SortOrder.DESCENDING)
    )


def _drawn(look: Look) -> common.GraphThresholdsStyleConfig:
    mode = common_model.GraphThresholdsStyleMode
    return common.GraphThresholdsStyleConfig().mode(mode.LINE if look.steps else mode.OFF)


def gauges(words: Words, look: Look, line: Line, *, ways: Sequence[Way] = ()) -> Any:
    """A horizontal bar for each series, at the end of the range."""
    panel = (
        bargauge.Panel()
        .with_target(at_the_end(line, "A"))
        .orientation(common_model.VizOrientation.HORIZONTAL)
        .display_mode(common_model.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _linked(dressed(panel, words, look), ways)


def density(words: Words, look: Look, expression: str) -> Any:
    """A histogram over time: one cell for each bucket and interval."""
    query = over_time(Line(expression, "{{le}}"), "A", exemplars=True)
    panel = (
        heatmap.Panel()
        .with_target(query.format(prometheus_model.PromQueryFormat.HEATMAP))
        .interval("1m")
        .max_data_points(POINTS)
        .calculate(False)
        .color(_shades())
        .y_axis(heatmap.YAxisConfig().unit(look.unit))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .scale_distribution(_linear())
    )
    return dressed(panel, words, look)


def _linear() -> common.ScaleDistributionConfig:
    return common.ScaleDistributionConfig().type(common_model.ScaleDistribution.LINEAR)


def _shades() -> heatmap.HeatmapColorOptions:
    mode = heatmap_model.HeatmapColorMode.SCHEME
    return heatmap.HeatmapColorOptions().mode(mode).scheme("Oranges").steps(64)


def states(
    words: Words, line: Line, names: Mapping[float, tuple[str, str]], ways: Sequence[Way]
) -> Any:
    """A strip of coloured states for each series, twenty a page. NAMES: value, text, colour."""
    panel = (
        statetimeline.Panel()
        .with_target(over_time(line, "A"))
        .mappings([value_map({f"{value:g}": name for value, name in names.items()})])
        .show_value(common_model.VisibilityMode.NEVER)
        .merge_values(True)
        .per_page(20)
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(80)
        .max_data_points(300)
    )
    return _linked(dressed(panel, words, Look("short")), ways)


def value_map(names: Mapping[str, tuple[str, str]]) -> model.ValueMap:
    """A mapping of values to a text and a colour."""
    results = {
        value: model.ValueMappingResult(text=shown, color=color, index=index)
        for index, (value, (shown, color)) in enumerate(names.items())
    }
    return model.ValueMap(options=results)


def words_only(words: Words, content: str) -> Any:
    """A panel of Markdown."""
    return (
        text.Panel()
        .title(words.title)
        .description(words.description)
        .mode(text_model.TextMode.MARKDOWN)
        .content(content)
    )
