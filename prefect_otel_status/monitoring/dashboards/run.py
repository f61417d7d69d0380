"""One run: from its id to its trace, its statuses, and how long such runs usually take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import logs, table
from grafana_foundation_sdk.builders import loki as loki_query
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import loki as loki_model

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import (
    panels,
    shared,
    uids,
    variables,
    ways,
)
from prefect_otel_status.monitoring.dashboards.frame import Frame, Placed, Row, dashboard
from prefect_otel_status.monitoring.dashboards.panels import Look, Words
from prefect_otel_status.monitoring.dashboards.queries import RANGE, quantile, series
from prefect_otel_status.monitoring.links import Links

_PLACES = """
Paste the id of a flow run into **Run**. Prefect shows it in the address of the run's page.

- [The run in Prefect]({prefect}/runs/flow-run/${{run}}): parameters, logs, artifacts, retry
- [What the bridge knows of it]({bridge}/api/runs/${{run}}): its states and statuses while it goes \
on, and its `trace_id`
- [Its trace in Jaeger]({jaeger}/trace/${{trace}}), once **Trace** has an id

`prefect-otel-status trace-id ${{run}}` prints the trace id of a run that no other run started.
"""


_KEPT = "&".join(
    [f"${{{name}:queryparam}}" for name in ("run", "service", "jaeger", "loki")]
    + [f"${{{name}:queryparam}}" for name in ("datasource", "job", "environment", "window")]
    + ["${flow:queryparam}&${deployment:queryparam}&${__url_time_range}"]
)
"""Everything but the trace, which a link sets."""


def run(links: Links) -> model.Dashboard:
    """The dashboard."""
    frame = Frame(
        uids.RUN,
        "Prefect: one run",
        "A run by its id: its trace, its statuses, and how long such runs usually take.",
        [*_asked(), *variables.usual(variables.Choice(jaeger=True)), variables.loki()],
        refresh="",
    )
    usual = [usual_duration(0.5), usual_duration(0.95), oldest(), last_end()]
    rows = [
        Row("The run", [Placed(panel, 8, 8) for panel in (places(links), *traces())]),
        Row("Its trace", [Placed(trace(), 24, 18)]),
        Row(
            "Against what is usual",
            [*(Placed(panel, 6, 4) for panel in usual), *_durations(links)],
        ),
        # Folded, because without the profile `logs` there is no Loki to ask.
        Row("Its statuses, from Loki", [Placed(said(), 24, 12)], folded=True),
    ]
    return dashboard(frame, rows)


def _asked() -> list[variables.Variable]:
    return [
        variables.text_box("run", "Run", "The id of a flow run."),
        variables.text_box("trace", "Trace", "The id of a trace: click on one below."),
        variables.service(),
    ]


def _durations(links: Links) -> list[Placed]:
    return [Placed(shared.run_duration(links, q), 12, 9) for q in (0.5, 0.95)]


def places(links: Links) -> Any:
    """Where else the run can be seen."""
    words = Words(
        "Where it can be seen",
        "Links to the run in Prefect, in the bridge and in Jaeger. A link that leads nowhere is "
        "missing an id: see the boxes at the top.",
    )
    content = _PLACES.format(prefect=links.prefect, bridge=links.bridge, jaeger=links.jaeger)
    return panels.words_only(words, content.strip())


# --- its trace -----------------------------------------------------------------
@dataclass(frozen=True)
class JaegerQuery:
    """A query of Jaeger's data source, of which the SDK has no model."""

    asked: Mapping[str, object]

    def build(self) -> UnknownDataquery:
        """The query as Grafana writes it."""
        source = variables.JAEGER.to_json()
        return UnknownDataquery({"datasource": source, "refId": "A", **self.asked})


def traces() -> list[Any]:
    """The traces in which the run is: as its process sent it, and as the bridge drew it."""
    return [
        _found(
            "Its trace, from its process",
            "The trace that the run's process sent, by the run's id. Click on the trace to see it "
            "below. Empty without an id in Run, where Service is not the process's service.name, "
            "where the process sent nothing, and outside the shown time. Its duration is that of "
            "the whole trace: compare it with what is usual, below.",
            "$service",
        ),
        _found(
            "Its trace, from the bridge",
            "The same trace by the spans that the bridge made: of runs without this package, and "
            "of those whose process was killed. Empty where the process sent all of it, and until "
            "the run has ended and is settled.",
            ways.BRIDGE_SERVICE,
        ),
    ]


def _found(title: str, description: str, service: str) -> Any:
    tags = f"{signals.RUN_ID.name}=$run"
    query = JaegerQuery({"queryType": "search", "service": service, "tags": tags, "limit": 20})
    show = ways.Way("Show it below", f"/d/{uids.RUN}?var-trace=${{__value.raw}}&{_KEPT}")
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(variables.JAEGER)
        .with_target(query)
        .filterable(True)
        .override_by_name("Trace ID", [panels.links_of([show])])
    )


def trace() -> Any:
    """The trace, span by span."""
    return (
        build.Panel()
        .type("traces")
        .title("Trace")
        .description(
            "The trace whose id is in Trace: runs, tasks, stages, and the statuses as events on "
            "them. A red span is the one that failed; open it for the exception and the last "
            "words. The attribute with the run's address leads to Prefect. It complains while "
            "Trace is empty: click on a trace above."
        )
        .datasource(variables.JAEGER)
        .with_target(JaegerQuery({"query": "$trace"}))
    )


# --- what is usual ---------------------------------------------------------------
def usual_duration(q: float) -> Any:
    """The quantile Q of the durations of such runs."""
    words = Words(
        f"Usual duration, p{q * 100:g}",
        f"{shared.SHARES[q]} of the runs of the chosen deployment that ended within the shown time "
        "took at most this long. Choose the run's deployment at the top, and a time that holds "
        "enough of its runs.",
    )
    expression = quantile(q, signals.RUN_DURATION, window=RANGE)
    return panels.number(words, Look("s"), expression)


def oldest() -> Any:
    """For how long the oldest active run has run."""
    words = Words(
        "Oldest active run",
        "For how long the oldest active run of the chosen deployment has run: this run's time, if "
        "it is the only one. Empty while none runs. When it is well over the usual p95, the run "
        "may hang: look at its last status.",
    )
    expression = f"time() - min({series(signals.OLDEST_ACTIVE_START)})"
    return panels.number(words, Look("s"), expression)


def last_end() -> Any:
    """When the latest run of the deployment ended."""
    words = Words(
        "Latest end of a run",
        "When the latest run of the chosen deployment ended, well or badly.",
    )
    expression = f"max({series(signals.LAST_RUN)}) * 1000"
    return panels.number(words, Look("dateTimeFromNow"), expression)


# --- its statuses ----------------------------------------------------------------
def said() -> Any:
    """The log events of the run."""
    selector = '{service_name=~".+"}'
    query = (
        loki_query.Dataquery()
        .ref_id("A")
        .datasource(variables.LOKI)
        .editor_mode(loki_model.QueryEditorMode.CODE)
        .expr(f'{selector} | {signals.RUN_ID.label}="$run"')
        .query_type("range")
        .max_lines(1000)
    )
    return (
        logs.Panel()
        .title("Statuses and log lines")
        .description(
            "What the run said, its changes of state and the lines of its own logger, from log "
            "events in Loki. Needs Loki: the profile `logs` of the compose file, and the flow's "
            "processes sending logs over OTLP. Without it the statuses are on the trace."
        )
        .datasource(variables.LOKI)
        .with_target(query)
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .sort_order(common_model.LogsSortOrder.ASCENDING)
    )
