"""A million distinct values: the budget of series, exact totals, a scrape that still works."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import prefect_otel_status.runtime as runtime_module
from prefect_otel_status import status
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.settings import Settings

MILLION = 1_000_000
BUDGET = 100


def test_a_million_distinct_templates_and_stages_stay_within_the_budget() -> None:
    registry = CollectorRegistry()
    settings = Settings(
        label_budget=BUDGET,
        metrics=False,
        log_events=False,
        log_lines=False,
        run_log=False,
        prefect_events=False,
    )
    runtime = Runtime(settings, registry=registry)
    previous = runtime_module.current()
    runtime_module.use(runtime)
    try:
        for number in range(MILLION):
            letters = chr(97 + number % 26) * (1 + number // 26 % 60) + str(number)
            status("Said {value} " + letters, value=number, stage=letters)
        assert runtime.recorder.stop(100)
    finally:
        runtime_module.use(previous)
    families = {
        f.name: f for f in text_string_to_metric_families(generate_latest(registry).decode())
    }
    samples = [
        sample
        for sample in families["prefect_status_messages"].samples
        if sample.name.endswith("_total")
    ]
    assert sum(sample.value for sample in samples) == MILLION
    for label in ("prefect_status_template", "prefect_status_stage"):
        values = {sample.labels[label] for sample in samples}
        assert len(values - {"", "__other__"}) <= BUDGET
    assert max(sample.value for sample in samples) > MILLION / 2  # what was folded
