"""What is usual for a deployment: durations of its runs and stages, and how long it is silent."""

from __future__ import annotations

from inspect import cleandoc

from prefect_otel_status.monitoring.promql import equals, labels
from prefect_otel_status.monitoring.rules.expressions import (
    DEPLOYMENT_KEY,
    LASTING,
    executing,
    latest,
    max_by,
)
from prefect_otel_status.monitoring.rules.rule import Group, Recording
from prefect_otel_status.signals import (
    DEPLOYMENT,
    LAST_STATUS,
    PIPELINE_NAME,
    RESULT,
    RUN_DURATION,
    STAGE,
    STAGE_DURATION,
    Metric,
)

RUN_P50 = "deployment:cicd_pipeline_run_duration_seconds:p50_7d"
RUN_P95 = "deployment:cicd_pipeline_run_duration_seconds:p95_7d"
STAGE_P95 = "stage:prefect_status_stage_duration_seconds:p95_7d"
SILENCE_LIMIT = "deployment:prefect_status_silence_limit:seconds"

_STAGE_KEY = labels(PIPELINE_NAME, DEPLOYMENT, STAGE)
_SUCCESS = equals(RESULT, "success")


def usual() -> Group:
    """The records; they change slowly, and are evaluated less often."""
    rules = (
        Recording(RUN_P50, _quantile(0.5, RUN_DURATION, DEPLOYMENT_KEY)),
        Recording(RUN_P95, _quantile(0.95, RUN_DURATION, DEPLOYMENT_KEY)),
        Recording(STAGE_P95, _quantile(0.95, STAGE_DURATION, _STAGE_KEY)),
        Recording(SILENCE_LIMIT, _silence_limit()),
    )
    return Group("prefect-usual", rules, "1m")


def _quantile(quantile: float, metric: Metric, by: str) -> str:
    now = latest(metric, _SUCCESS, part="bucket", window=LASTING)
    then = latest(metric, _SUCCESS, part="bucket", window=LASTING, ago="7d")
    return cleandoc(f"""
        # Of what succeeded in the last seven days, or ever, where that was nothing. The bridge's
        # counters outlive its restarts, so a difference of two samples is the increase; increase()
        # would read 40,000 samples of each bucket. What is less than seven days old began at 0.
        histogram_quantile({quantile}, sum by ({by}, le) (
          {now} - {then} >= 0
          or
          {now}
        )) >= 0
        or
        histogram_quantile({quantile}, sum by ({by}, le) (
          {now}
        )) >= 0
    """)


def _silence_limit() -> str:
    stage_now = max_by(_STAGE_KEY, latest(LAST_STATUS))
    return cleandoc(f"""
        # Three times what is usual, and never less than ten minutes.
        clamp_min(3 * (
            # of the stage that the run is in, which is only sure where there is one run,
            max by ({DEPLOYMENT_KEY}) (
              {STAGE_P95}
              and on ({_STAGE_KEY})
                {stage_now}
              and on ({DEPLOYMENT_KEY})
                {executing(DEPLOYMENT_KEY)} == 1
            )
          or
            # or of the longest of the stages,
            max by ({DEPLOYMENT_KEY}) ({STAGE_P95})
          or
            # or of the whole run, where there are no stages. A new deployment has no usual.
            {RUN_P95}
        ), 600)
    """)
