"""Which alert keeps which others silent, so that one cause pages once.

None is kept silent by a quieter one: a warning must not take a page away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect_otel_status.monitoring.rules.alerts import alert_groups
from prefect_otel_status.monitoring.rules.rule import Alert
from prefect_otel_status.signals import DEPLOYMENT, PIPELINE_NAME

WATCHDOG = "Watchdog"
_SAME_DEPLOYMENT = [PIPELINE_NAME.label, DEPLOYMENT.label]


def alerts() -> list[Alert]:
    """All alerts that there are."""
    return [rule for group in alert_groups() for rule in group.rules if isinstance(rule, Alert)]


def inhibit_rules() -> list[Any]:
    """The rules, as Alertmanager has them."""
    blinded = {alert.name for alert in alerts()} - {"BridgeDown", WATCHDOG}
    consequences = ("GateFailing", "RunsCrashing", "StatusErrorBurst")
    return [
        "# Without the bridge nothing is known of Prefect: what still fires is out of date.",
        _rule(named("BridgeDown"), [named(*sorted(blinded))]),
        "# A budget that burns fast is the page; these say the same more quietly, or later.",
        _rule(
            named("DeploymentErrorBudgetBurn"),
            [named("DeploymentFailing", "DeploymentNoSuccess", *consequences)],
            severity="critical",
            equal=_SAME_DEPLOYMENT,
        ),
        "# The slow burn says what the fast one says.",
        _rule(
            named("DeploymentErrorBudgetBurn"),
            [named("DeploymentErrorBudgetBurn"), 'severity="warning"'],
            severity="critical",
            equal=_SAME_DEPLOYMENT,
        ),
        "# A deployment that fails explains its gates, its crashes, its errors and its slow burn. "
        "It is a warning itself, so it leaves the fast burn alone.",
        _rule(
            named("DeploymentFailing"),
            [named("DeploymentErrorBudgetBurn", *consequences), 'severity=~"warning|info"'],
            equal=_SAME_DEPLOYMENT,
        ),
        "# A run that is stuck says nothing either.",
        _rule(named("RunStuck"), [named("RunSilent")], equal=_SAME_DEPLOYMENT),
    ]


def _rule(
    source: str, target: list[str], *, severity: str = "", equal: Iterable[str] = ()
) -> dict[str, Any]:
    loud = [f'severity="{severity}"'] if severity else []
    rule = {"source_matchers": [source, *loud], "target_matchers": target}
    return {**rule, "equal": list(equal)} if equal else rule


def named(*names: str) -> str:
    """A matcher for the alerts NAMES. Raises `ValueError` for one that there is not."""
    unknown = set(names) - {alert.name for alert in alerts()}
    if unknown:
        raise ValueError(f"There is no alert {', '.join(sorted(unknown))}.")
    return f'alertname="{names[0]}"' if len(names) == 1 else f'alertname=~"{"|".join(names)}"'
