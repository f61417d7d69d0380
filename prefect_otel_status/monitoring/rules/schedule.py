"""By when a scheduled deployment should have succeeded again."""

from __future__ import annotations

from inspect import cleandoc

from prefect_otel_status.monitoring.promql import select
from prefect_otel_status.monitoring.rules.expressions import DEPLOYMENT_KEY, latest, max_by
from prefect_otel_status.monitoring.rules.rule import Group, Recording
from prefect_otel_status.monitoring.rules.usual import RUN_P95
from prefect_otel_status.signals import EXPECTED_INTERVAL

SCHEDULED_SINCE = "deployment:prefect_deployment_scheduled_since:timestamp_seconds"
SUCCESS_LIMIT = "deployment:prefect_deployment_success_limit:seconds"


def schedule() -> Group:
    """The records; none for a deployment that is paused or has no schedule."""
    rules = (Recording(SCHEDULED_SINCE, _since()), Recording(SUCCESS_LIMIT, _limit()))
    return Group("prefect-schedules", rules, "1m")


def _since() -> str:
    interval = max_by(DEPLOYMENT_KEY, latest(EXPECTED_INTERVAL))
    return cleandoc(f"""
        # Since when it has been scheduled without a pause: what was recorded before, or else now.
        # So a deployment that is new, or was resumed, has time for its first runs; and a backfill
        # of an old history is no reason to call. An hour bridges a restart of Prometheus.
          min by ({DEPLOYMENT_KEY}) (last_over_time({SCHEDULED_SINCE}[1h]))
          and on ({DEPLOYMENT_KEY})
          {interval}
        or on ({DEPLOYMENT_KEY})
          0 * {interval} + time()
    """)


def _limit() -> str:
    longest = max_by(DEPLOYMENT_KEY, f"max_over_time({select(EXPECTED_INTERVAL, window='1d')})")
    return cleandoc(f"""
        # Two intervals and a usual run, and ten minutes to be late. The longest interval of the
        # last day: after a change from weekly to hourly nothing is overdue at once.
          2 * {longest}
        +
          ({RUN_P95} or 0 * {longest})
        + 600
    """)
