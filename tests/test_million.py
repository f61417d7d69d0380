"""A million distinct values: the budget of series, exact totals, a scrape that still works."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT, run_flow
from tests.support.server import environment

MILLION = 1_000_000
BUDGET = 100


@pytest.mark.long
@pytest.mark.fault(30)
def test_a_million_distinct_templates_and_stages_stay_within_the_budget(tmp_path: Path) -> None:
    env = environment(tmp_path, PYTHONPATH=str(ROOT))
    scrape = run_flow("million_values.py", str(MILLION), str(BUDGET), env=env, timeout=110).stdout
    families = {family.name: family for family in text_string_to_metric_families(scrape)}
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
