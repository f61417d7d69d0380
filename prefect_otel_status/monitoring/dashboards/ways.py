"""Ways out of a panel: links with what was clicked on filled in.

Grafana fills in a table's columns by their names and a series' labels by
theirs; `percentencode` makes both safe in an address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import uids
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.signals import Attribute

FLOW, DEPLOYMENT, ENVIRONMENT = "Flow", "Deployment", "Environment"
"""The names of the columns that hold a deployment's labels."""

BRIDGE_SERVICE = "prefect-otel-bridge"
"""The name of the service whose spans are those that the bridge made."""

_COLUMNS = {
    signals.PIPELINE_NAME: FLOW,
    signals.DEPLOYMENT: DEPLOYMENT,
    signals.ENVIRONMENT: ENVIRONMENT,
}
_KEPT = "${datasource:queryparam}&${jaeger:queryparam}&${job:queryparam}&${__url_time_range}"
_IN_MICROSECONDS = "start=${__from}000&end=${__to}000&lookback=custom&limit=50"


@dataclass(frozen=True)
class Way:
    """A link: what it says and where it leads to; FAR opens a new tab."""

    title: str
    url: str
    far: bool = False

    def as_json(self) -> dict[str, object]:
        """The link as Grafana writes it in the configuration of a field."""
        return {"title": self.title, "url": self.url, "targetBlank": self.far}


@dataclass(frozen=True)
class Source:
    """Where a link finds the labels: in the columns of a table, or on a series."""

    in_table: bool

    def value(self, attribute: Attribute) -> str:
        """The value of ATTRIBUTE, as Grafana fills it in."""
        if self.in_table:
            return f"${{__data.fields.{_COLUMNS[attribute]}:percentencode}}"
        return f"${{__field.labels.{attribute.label}:percentencode}}"


ROW = Source(in_table=True)
LINE = Source(in_table=False)


def to_dashboard(uid: str, title: str, source: Source) -> Way:
    """The dashboard UID, of the deployment that was clicked on."""
    flow, deployment = source.value(signals.PIPELINE_NAME), source.value(signals.DEPLOYMENT)
    return Way(title, f"/d/{uid}?var-flow={flow}&var-deployment={deployment}&{_KEPT}")


def to_status_page(links: Links, source: Source) -> Way:
    """The bridge's page of the deployment that was clicked on."""
    flow, deployment = source.value(signals.PIPELINE_NAME), source.value(signals.DEPLOYMENT)
    address = f"{links.bridge}/deployments?flow={flow}&deployment={deployment}"
    return Way("Its last words, on the bridge's page", address, far=True)


def to_traces(links: Links, source: Source, *, failed: bool = False) -> list[Way]:
    """Jaeger's search for the runs of the deployment that was clicked on; only FAILED ones.

    Jaeger wants the name of a service. A process calls itself by its
    deployment, unless `OTEL_SERVICE_NAME` says another name; what no process
    could send is the bridge's.
    """
    flow = source.value(signals.PIPELINE_NAME)
    tags = {signals.PIPELINE_NAME.name: flow} | ({"error": "true"} if failed else {})
    what = "failed runs" if failed else "runs"
    return [
        _search(links, f"Traces of its {what}", source.value(signals.DEPLOYMENT), tags),
        _search(links, f"Traces of its {what} that the bridge drew", BRIDGE_SERVICE, tags),
    ]


def to_traces_of_error(links: Links) -> list[Way]:
    """Jaeger's search for the spans with the type of error that was clicked on."""
    return _of_chosen(links, "Traces with this error", signals.ERROR_TYPE.name, signals.ERROR_TYPE)


def to_traces_of_message(links: Links) -> list[Way]:
    """Jaeger's search for the spans on which the message that was clicked on was said.

    Jaeger keeps the name of a span's event as its field `event`, and searches
    those fields too. The name is the message's label.
    """
    return _of_chosen(links, "Traces with this message", "event", signals.TEMPLATE)


def _of_chosen(links: Links, title: str, tag: str, attribute: Attribute) -> list[Way]:
    tags = {tag: f"${{__field.labels.{attribute.label}:percentencode}}"}
    service = "${deployment:percentencode}"
    return [
        _search(links, f"{title}, of the chosen deployment", service, tags),
        _search(links, f"{title} that the bridge drew", BRIDGE_SERVICE, tags),
    ]


def _search(links: Links, title: str, service: str, tags: dict[str, str]) -> Way:
    # The braces and quotes of the JSON that Jaeger wants, encoded by hand: the
    # values must stay as they are, for Grafana to fill them in.
    inside = "%2C".join(f"%22{name}%22%3A%22{value}%22" for name, value in tags.items())
    query = f"service={service}&tags=%7B{inside}%7D&{_IN_MICROSECONDS}"
    return Way(title, f"{links.jaeger}/search?{query}", far=True)


def of_deployment(links: Links, source: Source, *, here: str) -> Sequence[Way]:
    """All ways out of a deployment, from the dashboard HERE."""
    inner = [
        (uids.HEALTH, "Its health"),
        (uids.STATUSES, "What it says"),
        (uids.RUN, "One of its runs"),
        (uids.DELIVERY, "Its delivery"),
    ]
    names = {uid: f"{title}, alone" if uid == here else title for uid, title in inner}
    return [
        *(to_dashboard(uid, title, source) for uid, title in names.items()),
        to_status_page(links, source),
        *to_traces(links, source, failed=False),
    ]
