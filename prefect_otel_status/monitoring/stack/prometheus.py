"""The configuration of Prometheus, and what an existing one takes of it."""

from __future__ import annotations

from typing import Any

from prefect_otel_status.monitoring.promql import JOB
from prefect_otel_status.monitoring.stack import places
from prefect_otel_status.monitoring.stack.document import document
from prefect_otel_status.monitoring.stack.places import Place

RULES = ("recording.yml", "alerts.yml")
TARGETS = "/etc/prometheus-targets/*.yml"
INTERVAL = "15s"

_NEIGHBOURS = {
    "alertmanager": places.ALERTMANAGER,
    "collector": places.COLLECTOR_METRICS,
    "grafana": places.GRAFANA,
    "jaeger": places.JAEGER_METRICS,
    "prometheus": places.PROMETHEUS,
}


def files() -> dict[str, str]:
    """The files by their paths."""
    return {
        "prometheus/prometheus.yml": _prometheus(),
        "prometheus/targets/single/bridge.yml": _targets(
            "The bridge that Prometheus scrapes.", {JOB: places.BRIDGE}
        ),
        "prometheus/targets/ha/bridge.yml": _targets(
            "Both bridges. The one that waits answers with nothing, so both may be scraped.",
            {f"{JOB}-1": places.BRIDGE, f"{JOB}-2": places.SECOND_BRIDGE},
        ),
        "prometheus/scrape.example.yml": _example(),
    }


def _prometheus() -> str:
    return document(
        "Prometheus in the compose stack. It runs with `--enable-feature=exemplar-storage`, "
        "without which there is no way from a graph to a trace.",
        {
            "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": list(RULES),
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [str(places.ALERTMANAGER)]}]},
                ]
            },
            "scrape_configs": [
                _bridge_job(),
                *[_job(name, place) for name, place in _NEIGHBOURS.items()],
            ],
        },
    )


def _bridge_job() -> dict[str, Any]:
    return {
        "job_name": JOB,
        "file_sd_configs": [{"files": [TARGETS]}],
        "metric_relabel_configs": [
            "# The series say the same `instance` whichever bridge shows them: then a takeover is "
            "no reset. `up` keeps the target's own, and tells the two apart.",
            _same_instance(),
        ],
    }


def _same_instance() -> dict[str, str]:
    return {"target_label": "instance", "replacement": JOB}


def _job(name: str, place: Place) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [str(place)]}]}


def _targets(about: str, bridges: dict[str, Place]) -> str:
    groups = [
        {"targets": [str(place)], "labels": {"instance": instance}}
        for instance, place in bridges.items()
    ]
    # A list has no keys, so it is written by way of one.
    head, _, body = document(about, {"groups": groups}).partition("groups:\n")
    return head + "".join(f"{line[2:]}\n" for line in body.splitlines())


def _example() -> str:
    return document(
        "What an existing Prometheus takes: put it into its own configuration, the rule files "
        "beside it, and start it with `--enable-feature=exemplar-storage`.",
        {
            "rule_files": list(RULES),
            "scrape_configs": [
                {
                    "job_name": JOB,
                    "#": "If you change it, set PREFECT_OTEL_STATUS_SCRAPE_INTERVAL of the bridge "
                    "too: it shows a new series at 0 for two of these.",
                    "scrape_interval": INTERVAL,
                    "static_configs": [
                        {
                            "targets": ["127.0.0.1:9464"],
                            "labels": {
                                "#": "Fixed, so that a takeover by another bridge is no reset. "
                                "The rules select the job, so keep its name.",
                                "instance": JOB,
                            },
                        }
                    ],
                }
            ],
        },
    )
