"""What the shared queries give, by Prometheus' own engine over series that a bridge would show."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_otel_status import signals
from prefect_otel_status.model import ERROR_LEVELS, ERROR_RESULTS
from prefect_otel_status.monitoring.dashboards import delivery_queries as delivered
from prefect_otel_status.monitoring.dashboards import queries
from prefect_otel_status.monitoring.promql import equals
from tests.monitoring.evaluation import gives, of, series

GOOD = series(
    signals.RUN_DURATION,
    part="count",
    cicd_pipeline_run_state="executing",
    cicd_pipeline_result="success",
)
CANCELLED = series(
    signals.RUN_DURATION,
    part="count",
    cicd_pipeline_run_state="executing",
    cicd_pipeline_result="cancellation",
)
FAILED = series(
    signals.RUN_DURATION,
    part="count",
    cicd_pipeline_run_state="executing",
    cicd_pipeline_result="failure",
    error_type="ValueError",
)
ERRORS = series(signals.RUN_ERRORS, error_type="ValueError")
ACTIVE = series(signals.RUN_ACTIVE, cicd_pipeline_run_state="executing")


def steps(*values: int, each: int = 10) -> str:
    """A counter that has each of VALUES for some minutes, by default for ten."""
    return " ".join(f"{value}x{each - 1}" for value in values)


def ended(result: str, deployment: str = "d") -> str:
    return series(signals.LAST_RUN, prefect_deployment_name=deployment, cicd_pipeline_result=result)


def closed(stage: str, result: str = "success", deployment: str = "d") -> str:
    return series(
        signals.STAGE_DURATION,
        part="count",
        prefect_deployment_name=deployment,
        prefect_status_stage=stage,
        cicd_pipeline_result=result,
    )


def said(stage: str, level: str, template: str, deployment: str = "d") -> str:
    return series(
        signals.MESSAGES,
        prefect_deployment_name=deployment,
        prefect_status_stage=stage,
        prefect_status_level=level,
        prefect_status_template=template,
    )


def test_the_expressions_name_the_results_and_levels_that_there_are() -> None:
    assert set(queries.FAILED.split("|")) == ERROR_RESULTS
    assert set(queries.ERRORS.split("|")) == ERROR_LEVELS


# --- success -------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "ratio"),
    [
        pytest.param({GOOD: steps(0, 3)}, {of(): 1}, id="always-good"),
        pytest.param({FAILED: steps(0, 3), ERRORS: steps(0, 3)}, {of(): 0}, id="always-bad"),
        pytest.param(
            {GOOD: steps(0, 3), FAILED: steps(0, 1), ERRORS: steps(0, 1)},
            {of(): 0.75},
            id="mixed",
        ),
        pytest.param(
            # It has no duration: its infrastructure could not be started.
            {GOOD: steps(0, 3), ERRORS: steps(0, 1)},
            {of(): 0.75},
            id="crashed-before-it-began",
        ),
        pytest.param(
            {GOOD: steps(0, 1), CANCELLED: steps(0, 9)}, {of(): 1}, id="cancelled-is-no-answer"
        ),
        pytest.param({GOOD: steps(3, 3)}, {}, id="no-runs-no-ratio"),
    ],
)
def test_success_ratio(tmp_path: Path, given: dict[str, str], ratio: dict[str, float]) -> None:
    expression = queries.success_ratio("$window", *queries.OF_RUN)
    assert gives(tmp_path, expression, given, at="19m", window="20m") == ratio


def test_success_above_its_objective_is_of_each_environment(tmp_path: Path) -> None:
    given = {
        GOOD: steps(0, 9),
        ERRORS: steps(0, 1),
        ACTIVE: steps(0, 0),
        'deployment:prefect_status_objective:ratio{cicd_pipeline_name="f", '
        'prefect_deployment_name="d"}': steps(1, 1).replace("1x", "0.95x"),
    }
    assert gives(tmp_path, queries.objective(), given, at="19m") == {of(): 0.95}
    above = queries.above_objective("$window")
    assert gives(tmp_path, above, given, at="19m", window="20m") == {of(): -0.05}


# --- health --------------------------------------------------------------------
def test_a_number_of_deployments_is_0_and_not_nothing(tmp_path: Path) -> None:
    bad = queries.number_of(queries.last_run(queries.FAILING), queries.last_run())
    given = {ended("success", "a"): "7x60", ended("skip", "b"): "8x60"}
    assert gives(tmp_path, bad, given) == {"{}": 0}
    assert gives(tmp_path, bad, {**given, ended("timeout", "c"): "9x60"}) == {"{}": 1}
    assert gives(tmp_path, bad, {}) == {}


def test_run_health_has_a_number_for_each_end(tmp_path: Path) -> None:
    results = ("success", "failure", "error", "timeout", "cancellation", "skip")
    given = {ended(result, result): "1795560797x60" for result in results}
    assert gives(tmp_path, queries.run_health(), given) == {
        of("success"): 1,
        of("failure"): 2,
        of("error"): 2,
        of("timeout"): 2,
        of("cancellation"): 3,
        of("skip"): 3,
    }


def test_top_shows_as_many_as_it_says(tmp_path: Path) -> None:
    given = {
        series(signals.RUNS_LATE, prefect_deployment_name=f"d{number}"): f"{number}x60"
        for number in range(30)
    }

    def late(at: str) -> str:
        return queries.series(signals.RUNS_LATE) + at

    most = gives(tmp_path, queries.top(2, late, *queries.OF_RUN), given)
    least = gives(tmp_path, queries.top(2, late, *queries.OF_RUN, of="bottomk"), given)
    assert sorted(most.values()) == [28, 29]
    assert sorted(least.values()) == [0, 1]


def test_a_quantile_of_nothing_is_nothing(tmp_path: Path) -> None:
    def bucket(le: str, deployment: str) -> str:
        return series(
            signals.QUEUE_DURATION, part="bucket", le=le, prefect_deployment_name=deployment
        )

    p50 = queries.quantile(0.5, signals.QUEUE_DURATION, *queries.OF_RUN, window="$window")
    given = {
        bucket("1.0", "busy"): steps(0, 0),
        bucket("2.0", "busy"): steps(0, 4),
        bucket("+Inf", "busy"): steps(0, 4),
        bucket("1.0", "idle"): steps(4, 4),
        bucket("+Inf", "idle"): steps(4, 4),
    }
    assert gives(tmp_path, p50, given, at="19m", window="20m") == {of("busy"): 1.5}


def test_silence_is_the_time_since_the_last_status(tmp_path: Path) -> None:
    given = {series(signals.LAST_MESSAGE): "600x60"}
    assert gives(tmp_path, queries.silence(), given, at="30m") == {of(): 1200}


# --- delivery ------------------------------------------------------------------
def test_a_promotion_is_counted_once_however_much_it_says(tmp_path: Path) -> None:
    given = {
        closed("promote"): steps(0, 2),
        closed("promote", "failure"): steps(0, 5),
        said("promote", "info", "Promoting {version}"): steps(0, 7),
        said("promote", "info", "Promoted {version}"): steps(0, 2),
    }
    found = gives(tmp_path, delivered.promotions("$window"), given, at="19m", window="20m")
    assert found == {of(): 2}


def test_promotions_that_are_only_said_are_as_many_as_the_most_frequent_message(
    tmp_path: Path,
) -> None:
    given = {
        said("promote", "info", "Promoting {version}", "words"): steps(0, 3),
        said("promote", "info", "Promoted {version}", "words"): steps(0, 2),
    }
    found = gives(tmp_path, delivered.promotions("$window"), given, at="19m", window="20m")
    assert found == {of("words"): 3}


@pytest.mark.parametrize(
    ("given", "number"),
    [
        pytest.param({closed("rollback"): steps(0, 2)}, 2, id="stage-without-words"),
        pytest.param(
            # As in the example: a gate refused twice, and once the process crashed.
            {
                closed("rollback"): steps(0, 2),
                said("rollback", "error", "Rolled back to {live}"): steps(0, 2),
                said("rollback", "error", "Withdrew the candidate after a crash"): steps(0, 1),
            },
            3,
            id="stage-and-hook",
        ),
        pytest.param(
            {
                closed("rollback"): steps(0, 2),
                said("rollback", "info", "Switching back"): steps(0, 9),
            },
            2,
            id="what-is-no-error-is-not-counted",
        ),
        pytest.param(
            {said("rollback", "critical", "Rolled back"): steps(0, 1)}, 1, id="words-without-stage"
        ),
    ],
)
def test_rollbacks(tmp_path: Path, given: dict[str, str], number: float) -> None:
    found = gives(tmp_path, delivered.rollbacks("$window"), given, at="19m", window="20m")
    assert found == {of(): number}


def test_the_change_failure_rate_needs_neither_of_both(tmp_path: Path) -> None:
    known = {ACTIVE: steps(0, 0)}
    rate = delivered.failure_rate("$window")
    at = {"at": "19m", "window": "20m"}
    promoted = {closed("promote"): steps(0, 3)}
    withdrawn = {closed("rollback"): steps(0, 1)}
    assert gives(tmp_path, rate, known, **at) == {}
    assert gives(tmp_path, rate, {**known, **promoted}, **at) == {"{}": 0}
    assert gives(tmp_path, rate, {**known, **withdrawn}, **at) == {"{}": 1}
    both = {**known, **promoted, **withdrawn}
    assert gives(tmp_path, rate, both, **at) == {"{}": 0.25}
    each = delivered.failure_rate("$window", each=True)
    assert gives(tmp_path, each, both, **at) == {of(): 0.25}


def test_the_frequency_is_promotions_a_day(tmp_path: Path) -> None:
    given = {ACTIVE: "0x2880", closed("promote"): steps(0, 6, each=1440)}
    found = gives(tmp_path, delivered.frequency("$__range"), given, at="2879m", range="2d")
    assert found == {"{}": 3}


def present(*minutes: int) -> str:
    """A series that is there for the first of MINUTES, gone for the second, and so on."""
    found: list[str] = []
    for place, length in enumerate(minutes):
        there = ["1"] * length
        gone = ["stale", *["_"] * (length - 1)] if found else ["_"] * length
        found += gone[:length] if place % 2 else there
    return " ".join(found)


def test_the_time_to_restore_is_the_mean_of_what_was_repaired(tmp_path: Path) -> None:
    # `a` was failing for 10 minutes and for 20, `b` never, `c` for 15 and still is.
    given = {
        ended("success", "a"): present(10, 10, 10, 20, 10),
        ended("failure", "a"): present(0, 10, 10, 10, 20, 10),
        ended("success", "b"): present(60),
        ended("success", "c"): present(45, 15),
        ended("error", "c"): present(0, 45, 15),
    }
    at = {"at": "59m", "range": "1h", "interval": "1m"}
    assert gives(tmp_path, delivered.time_to_restore(each=True), given, **at) == {of("a"): 900}
    assert gives(tmp_path, delivered.time_to_restore(), given, **at) == {"{}": 1350}


def test_what_is_broken_tells_since_when(tmp_path: Path) -> None:
    def success(deployment: str) -> str:
        return series(signals.LAST_SUCCESS, prefect_deployment_name=deployment)

    given = {
        ended("success", "well"): "3000x60",
        success("well"): "3000x60",
        ended("failure", "broken"): "3300x60",
        success("broken"): "600x60",
        ended("timeout", "never"): "2400x60",
    }
    found = gives(tmp_path, delivered.failing_since(), given, at="1h")
    assert found == {of("broken"): 3000, of("never"): 1200}


def test_a_selector_takes_only_the_labels_that_its_metric_has() -> None:
    assert queries.series(signals.BRIDGE_LAG) == 'prefect_status_bridge_lag_seconds{job=~"$job"}'
    assert queries.series(signals.EXPECTED_INTERVAL) == (
        "prefect_deployment_expected_interval_seconds"
        '{job=~"$job", cicd_pipeline_name=~"$flow", prefect_deployment_name=~"$deployment"}'
    )
    with pytest.raises(ValueError, match="has no label"):
        queries.series(signals.BRIDGE_LAG, equals(signals.STAGE, "x"))
