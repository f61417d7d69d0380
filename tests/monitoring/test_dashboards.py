"""The committed dashboards: what they ask can be asked, what they link to is there.

Grafana itself is not run here. That its files have the right form is shown by
the SDK's models, which read them and write them again.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from prefect_otel_status import signals
from prefect_otel_status.monitoring import inventory
from prefect_otel_status.monitoring.inventory import PanelInfo
from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.render import dashboards_files
from tests.monitoring.committed import (
    DASHBOARDS,
    FILES,
    PANELS,
    each_dashboard,
    each_panel,
    renders,
)
from tests.monitoring.syntax import OF_DEPLOYMENT, known_series, named
from tests.support.processes import program

UIDS = {
    "prefect-health",
    "prefect-statuses",
    "prefect-run",
    "prefect-delivery",
    "prefect-workers",
    "prefect-bridge",
}
OF_PROMETHEUS = {"step", "tagKeys", "textFormat", "titleFormat", "useValueForTime"}
"""Fields of an annotation that Grafana's data source for Prometheus reads, and no schema has."""

WITHOUT_NUMBERS = {"text", "traces", "logs"}
ELSEWHERE = Links(
    grafana="https://grafana.example",
    prefect="https://prefect.example",
    jaeger="https://jaeger.example",
    bridge="https://bridge.example",
    runbooks="https://runbooks.example",
)

Dashboard = dict[str, Any]


def panels_of(dashboard: Dashboard) -> list[dict[str, Any]]:
    return list(inventory.panels_of(dashboard))


def links_of(value: object) -> Iterator[str]:
    """All addresses in VALUE, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        for inner in value.values():
            yield from links_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from links_of(inner)


# --- as files ------------------------------------------------------------------
@renders
def test_the_committed_files_are_as_they_would_be_rendered() -> None:
    assert dashboards_files(Links()) == FILES


@renders
def test_rendering_twice_gives_the_same() -> None:
    assert dashboards_files(ELSEWHERE) == dashboards_files(ELSEWHERE)


@renders
@each_dashboard()
def test_the_sdks_own_models_read_and_write_it_unchanged(dashboard: Dashboard) -> None:
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard as Model

    plugins.register_default_plugins()
    again = json.loads(JSONEncoder().encode(Model.from_json(json.loads(json.dumps(dashboard)))))
    expected = json.loads(json.dumps(dashboard))
    for annotation in expected["annotations"]["list"]:
        assert annotation.keys() >= OF_PROMETHEUS
        for name in OF_PROMETHEUS:
            del annotation[name]
    assert again == expected


def test_there_are_six_under_their_addresses() -> None:
    assert {dashboard["uid"] for dashboard in DASHBOARDS} == UIDS
    assert FILES.keys() == {f"grafana/{uid}.json" for uid in UIDS}


@each_dashboard()
def test_its_frame(dashboard: Dashboard) -> None:
    assert dashboard["tags"] == ["prefect"]
    assert dashboard["version"] >= 1
    assert dashboard["description"].endswith(".")
    (link,) = dashboard["links"]
    assert (link["type"], link["tags"]) == ("dashboards", ["prefect"])
    assert link["includeVars"]
    assert link["keepTime"]
    marks = [(mark["name"], mark["iconColor"]) for mark in dashboard["annotations"]["list"]]
    assert marks == [("Promotion", "green"), ("Rollback", "red")]


@each_dashboard()
def test_its_variables(dashboard: Dashboard) -> None:
    found = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    usual = {"datasource", "jaeger", "job", "environment", "flow", "deployment", "window"}
    assert usual <= found.keys()
    assert found["job"]["current"]["value"] == "prefect-otel-bridge"
    for name in ("environment", "flow", "deployment"):
        assert (found[name]["multi"], found[name]["includeAll"]) == (True, True)
        assert found[name]["allValue"] == ".*"
        assert found[name]["current"]["value"] == ["$__all"]


# --- panels --------------------------------------------------------------------
@each_dashboard()
def test_each_panel_has_an_id_and_a_title_of_its_own(dashboard: Dashboard) -> None:
    rows = [panel for panel in dashboard["panels"] if panel["type"] == "row"]
    found = [*rows, *panels_of(dashboard)]
    ids = [panel["id"] for panel in found]
    titles = [panel["title"] for panel in panels_of(dashboard)]
    assert sorted(ids) == list(range(1, len(found) + 1))
    assert len(set(titles)) == len(titles)


@each_dashboard()
def test_no_panel_lies_on_another(dashboard: Dashboard) -> None:
    for group in ([*dashboard["panels"]], *(row.get("panels", []) for row in dashboard["panels"])):
        places = [panel["gridPos"] for panel in group]
        assert all(place["x"] + place["w"] <= 24 and place["h"] > 0 for place in places)
        assert [pair for pair in combinations(places, 2) if _overlap(*pair)] == []


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


@each_panel()
def test_it_says_what_it_shows(panel: PanelInfo) -> None:
    assert re.fullmatch(r"[A-Z0-9].{30,}[.]", panel.description, re.DOTALL), panel.description
    assert "  " not in panel.description


@each_dashboard()
def test_what_can_be_red_says_what_to_do_then(dashboard: Dashboard) -> None:
    can_be_red = [
        panel for panel in panels_of(dashboard) if '"red"' in json.dumps(panel.get("fieldConfig"))
    ]
    silent = [p["title"] for p in can_be_red if not re.search(r"\bred\b", p["description"])]
    assert silent == []


@each_dashboard()
def test_each_number_has_a_unit(dashboard: Dashboard) -> None:
    for panel in panels_of(dashboard):
        if panel["type"] in WITHOUT_NUMBERS or panel["datasource"]["type"] != "prometheus":
            continue
        if panel["type"] == "table":
            assert _columns_without_unit(panel) == []
        else:
            assert panel["fieldConfig"]["defaults"]["unit"]


def _columns_without_unit(panel: dict[str, Any]) -> list[str]:
    with_unit = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if any(change["id"] == "unit" for change in override["properties"])
    }
    (info,) = (found for found in PANELS if found.title == panel["title"] and _is_of(found, panel))
    return [found.name for found in info.expressions if found.name not in with_unit]


def _is_of(info: PanelInfo, panel: dict[str, Any]) -> bool:
    asked = [target["expr"] for target in panel["targets"]]
    return [expression.text for expression in info.expressions] == asked


@each_dashboard()
def test_it_is_sensible_at_500_deployments(dashboard: Dashboard) -> None:
    for panel in panels_of(dashboard):
        assert "repeat" not in panel
        if panel["type"] == "table":
            assert panel["fieldConfig"]["defaults"]["custom"]["filterable"]
        if panel["type"] in ("timeseries", "bargauge"):
            many = [t["expr"] for t in panel["targets"] if _is_by_deployment(t["expr"])]
            assert [text for text in many if not re.search(r"\b(topk|bottomk)\(", text)] == []
        if panel["type"] == "state-timeline":
            assert panel["options"]["perPage"] <= 20


def _is_by_deployment(text: str) -> bool:
    return any(
        labels & OF_DEPLOYMENT
        for labels, _ in named(inventory.concrete(text)).grouped
        if not text.startswith("sum(")
    )


@each_dashboard()
def test_durations_lead_to_traces(dashboard: Dashboard) -> None:
    for panel in panels_of(dashboard):
        if panel["type"] not in ("timeseries", "heatmap"):
            continue
        for target in panel["targets"]:
            of_runs = re.search(r"(run|queue|stage)_duration_seconds_bucket", target["expr"])
            assert target["exemplar"] or not of_runs, panel["title"]


# --- what they ask -------------------------------------------------------------
def asked() -> Iterator[tuple[str, str]]:
    """Every query, with where it is from: of panels, of annotations."""
    for panel in PANELS:
        for expression in panel.expressions:
            yield f"{panel.key}/{expression.name}", inventory.concrete(expression.text)
    for dashboard in DASHBOARDS:
        for mark in dashboard["annotations"]["list"]:
            yield f"{dashboard['uid']}/{mark['name']}", inventory.concrete(mark["expr"])


def test_every_query_names_only_what_there_is() -> None:
    known = known_series()
    unknown = {place: list(named(text).unknown(known)) for place, text in asked()}
    assert {place: names for place, names in unknown.items() if names} == {}


def test_a_name_that_does_not_exist_would_be_found() -> None:
    known = known_series()
    wrong = 'sum by (flow) (rate(prefect_status_messages_total{model="x"}[5m])) / on (job) nothing'
    assert sorted(named(wrong).unknown(known)) == [
        "by (flow)",
        "nothing",
        "prefect_status_messages_total{model}",
    ]


def test_the_variables_ask_for_what_there_is() -> None:
    known = known_series()
    for dashboard in DASHBOARDS:
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            text = variable["query"]["query"]
            _, selector, label = re.fullmatch(r"(label_values)\((.+), (\w+)\)", text).groups()  # type: ignore[union-attr]
            names = re.search(r'__name__=~"([^"]+)"', selector)[1].split("|")  # type: ignore[index]
            labels = set(re.findall(r"(\w+)=~", selector)) - {"__name__"} | {label}
            assert all(labels <= known[name] for name in names), text


def test_prometheus_itself_takes_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:number:{number}", "expr": text}
        for number, (_, text) in enumerate(asked())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) > 100


def test_every_series_is_of_the_chosen_job() -> None:
    own = {"ALERTS", "ALERTS_FOR_STATE", "deployment:prefect_status_objective:ratio"}
    for place, text in asked():
        without = {name for name, labels in named(text).selectors if "job" not in labels}
        assert without <= own, place


@each_dashboard()
def test_it_has_the_variables_that_it_uses(dashboard: Dashboard) -> None:
    has = {variable["name"] for variable in dashboard["templating"]["list"]}
    texts = json.dumps(dashboard["panels"])
    used = set(re.findall(r"\$\{?([a-z]\w*)", texts))
    assert used - has == set()


# --- where they lead -----------------------------------------------------------
@each_dashboard()
def test_links_within_grafana_lead_to_dashboards_and_set_variables_of_theirs(
    dashboard: Dashboard,
) -> None:
    variables = {
        found["uid"]: {variable["name"] for variable in found["templating"]["list"]}
        for found in DASHBOARDS
    }
    inner = [url for url in links_of(dashboard["panels"]) if url.startswith("/")]
    for url in inner:
        found = re.match(r"/d/([\w-]+)\?", url)
        assert found, url
        sets = re.findall(r"var-(\w+)=", url) + re.findall(r"\$\{(\w+):queryparam\}", url)
        assert set(sets) <= variables[found[1]], url


@each_dashboard()
def test_links_out_of_grafana_lead_to_what_the_links_say(dashboard: Dashboard) -> None:
    links = Links()
    bases = (
        f"{links.bridge}/deployments?flow=",
        f"{links.bridge}/runbooks/",
        f"{links.jaeger}/search?service=",
    )
    outer = [url for url in links_of(dashboard["panels"]) if not url.startswith("/")]
    assert [url for url in outer if not url.startswith(bases)] == []


@renders
def test_no_address_is_left_of_another_machine() -> None:
    text = "".join(dashboards_files(ELSEWHERE).values())
    assert "127.0.0.1" not in text
    addresses = set(re.findall(r"https://(\w+)\.example", text))
    assert addresses == {"prefect", "jaeger", "bridge", "runbooks"}


def test_jaeger_is_asked_for_tags_that_are_json() -> None:
    searches = [url for d in DASHBOARDS for url in links_of(d["panels"]) if "/search?" in url]
    names = {signals.PIPELINE_NAME.name, signals.ERROR_TYPE.name, "error", "event"}
    for url in searches:
        filled = re.sub(r"\$\{[^}]+\}", "x", url)
        tags = json.loads(unquote(re.search(r"tags=([^&]+)", filled)[1]))  # type: ignore[index]
        assert tags.keys() <= names
    assert searches


@each_dashboard()
def test_links_are_filled_from_columns_and_labels_that_are_there(dashboard: Dashboard) -> None:
    for panel in panels_of(dashboard):
        urls = " ".join(links_of(panel.get("fieldConfig", {})))
        columns = {
            title
            for step in panel.get("transformations", [])
            for title in step["options"].get("renameByName", {}).values()
        }
        assert set(re.findall(r"__data\.fields\.(\w+)", urls)) <= columns, panel["title"]
        labels = set(re.findall(r"__field\.labels\.(\w+)", urls))
        legends = " ".join(target.get("legendFormat", "") for target in panel.get("targets", []))
        assert labels <= set(re.findall(r"\{\{(\w+)\}\}", legends)), panel["title"]


@each_dashboard()
def test_a_row_of_a_deployment_leads_to_its_health_its_status_page_and_its_traces(
    dashboard: Dashboard,
) -> None:
    tables = [panel for panel in panels_of(dashboard) if _has_deployments(panel)]
    for panel in tables:
        urls = " ".join(links_of(panel["fieldConfig"]))
        assert "/d/prefect-health?var-flow=${__data.fields.Flow:percentencode}" in urls
        assert "/deployments?flow=${__data.fields.Flow:percentencode}&deployment=" in urls
        assert "/search?service=${__data.fields.Deployment:percentencode}&tags=" in urls


def _has_deployments(panel: dict[str, Any]) -> bool:
    return '"Deployment"' in json.dumps(panel.get("transformations", []))


def test_the_tables_with_deployments_are_found() -> None:
    tables = [p["title"] for d in DASHBOARDS for p in panels_of(d) if _has_deployments(p)]
    assert len(tables) > 8


def test_one_run_asks_jaeger_and_loki_for_the_run() -> None:
    (run,) = (found for found in DASHBOARDS if found["uid"] == "prefect-run")
    asked_for = {
        panel["title"]: {key: panel["targets"][0].get(key) for key in ("tags", "query", "expr")}
        for panel in panels_of(run)
        if panel.get("datasource", {}).get("type") in ("jaeger", "loki")
    }
    by_id = {"tags": "cicd.pipeline.run.id=$run", "query": None, "expr": None}
    said = '{service_name=~".+"} | cicd_pipeline_run_id="$run"'
    assert asked_for == {
        "Its trace, from its process": by_id,
        "Its trace, from the bridge": by_id,
        "Trace": {"tags": None, "query": "$trace", "expr": None},
        "Statuses and log lines": {"tags": None, "query": None, "expr": said},
    }
