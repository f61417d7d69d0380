"""Metrics as the text that Prometheus reads: its own format, and OpenMetrics with exemplars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from prefect_otel_status.bridge.folding import Labels
from prefect_otel_status.bridge.values import Buckets, Exemplar, Exemplars, Value
from prefect_otel_status.signals import DURATION_BOUNDS, Kind, Metric

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_TYPES = {
    Kind.COUNTER: "counter",
    Kind.UP_DOWN_COUNTER: "gauge",
    Kind.GAUGE: "gauge",
    Kind.HISTOGRAM: "histogram",
}
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_EXACT = 2.0**53
_LES = (*(f'le="{float(bound)!r}"' for bound in DURATION_BOUNDS), 'le="+Inf"')


@dataclass(frozen=True)
class Family:
    """All series of METRIC that are shown, with their exemplars."""

    metric: Metric
    samples: Sequence[tuple[Labels, Value]]
    exemplars: Mapping[Labels, Exemplars] = field(default_factory=dict)


class _Rendered(NamedTuple):
    """A series as text, and what it was made from."""

    prefixes: tuple[str, ...]
    value: Value
    exemplars: Exemplars
    text: str


class Exposition:
    """Renders families; what has not changed since the last time is taken from then."""

    def __init__(self) -> None:
        self._known: dict[tuple[bool, str], dict[Labels, _Rendered]] = {}

    def render(self, families: Iterable[Family], *, openmetrics: bool) -> bytes:
        """FAMILIES as text, in their order; in OpenMetrics with exemplars."""
        parts: list[str] = []
        for family in families:
            parts.append(_head(family.metric, openmetrics))
            parts.extend(self._series(family, openmetrics))
        if openmetrics:
            parts.append("# EOF\n")
        # One lone surrogate would otherwise cost the whole scrape.
        return "".join(parts).encode("utf-8", "backslashreplace")

    def _series(self, family: Family, openmetrics: bool) -> list[str]:
        before = self._known.get((openmetrics, family.metric.name), {})
        now = {
            labels: _rendered(
                family.metric,
                labels,
                value,
                family.exemplars.get(labels, ()) if openmetrics else (),
                before.get(labels),
            )
            for labels, value in family.samples
        }
        self._known[openmetrics, family.metric.name] = now
        return [series.text for series in now.values()]


def _rendered(
    metric: Metric, labels: Labels, value: Value, exemplars: Exemplars, before: _Rendered | None
) -> _Rendered:
    if before is None:
        prefixes = _prefixes(metric, labels)
    elif before.value == value and before.exemplars is exemplars:
        return before
    else:
        prefixes = before.prefixes
    return _Rendered(prefixes, value, exemplars, _text(prefixes, value, exemplars))


def _text(prefixes: tuple[str, ...], value: Value, exemplars: Exemplars) -> str:
    if isinstance(value, Buckets):
        return _histogram(prefixes, value, exemplars)
    exemplar = exemplars[0] if exemplars and value else None
    return f"{prefixes[0]}{_number(value)}{_exemplar(exemplar)}\n"


def _histogram(prefixes: tuple[str, ...], value: Buckets, exemplars: Exemplars) -> str:
    totals = list(accumulate(value.counts))
    lines = [f"{prefix}{total}" for prefix, total in zip(prefixes, totals, strict=False)]
    for place, exemplar in enumerate(exemplars):
        if value.counts[place]:  # what is held back must not show by its exemplar
            lines[place] += _exemplar(exemplar)
    lines.append(f"{prefixes[-2]}{totals[-1]}")
    lines.append(f"{prefixes[-1]}{_number(value.sum)}")
    return "\n".join(lines) + "\n"


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    trace_id = exemplar.trace_id.translate(_ESCAPES)
    at = f"{exemplar.at / 1e9:.3f}"
    return f' # {{trace_id="{trace_id}"}} {_number(exemplar.value)} {at}'


def _prefixes(metric: Metric, labels: Labels) -> tuple[str, ...]:
    """The text before each value of a series: names and labels. An empty label is none."""
    name = metric.prometheus_name
    pairs = [
        f'{label}="{value.translate(_ESCAPES)}"'
        for label, value in zip(metric.label_names, labels, strict=True)
        if value
    ]
    if metric.kind is not Kind.HISTOGRAM:
        return (f"{name}{_braces(pairs)} ",)
    buckets = (f"{name}_bucket{_braces([*pairs, le])} " for le in _LES)
    return (*buckets, f"{name}_count{_braces(pairs)} ", f"{name}_sum{_braces(pairs)} ")


def _braces(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _head(metric: Metric, openmetrics: bool) -> str:
    name = metric.prometheus_name
    if openmetrics and metric.kind is Kind.COUNTER:
        name = name.removesuffix("_total")
    about = metric.description.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        about = about.replace('"', r"\"")
    return f"# HELP {name} {about}\n# TYPE {name} {_TYPES[metric.kind]}\n"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    return str(int(value)) if float(value).is_integer() and abs(value) < _EXACT else repr(value)
