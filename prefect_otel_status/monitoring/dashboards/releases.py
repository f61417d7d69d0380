"""Marks on all curves where a model went live or was taken back."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.models import dashboard as model

from prefect_otel_status import signals
from prefect_otel_status.monitoring.dashboards import panels
from prefect_otel_status.monitoring.dashboards.delivery_queries import PROMOTE, ROLLBACK
from prefect_otel_status.monitoring.dashboards.queries import OF_RUN, by, increase
from prefect_otel_status.monitoring.dashboards.variables import PROMETHEUS
from prefect_otel_status.monitoring.promql import equals

_STEP, _WINDOW = "1m", "2m"
_PLACE = "/".join(f"{{{{{attribute.label}}}}}" for attribute in OF_RUN[:2])


@dataclass(frozen=True)
class Marks:
    """An annotation with the fields of Prometheus, which the SDK's model does not have."""

    query: model.AnnotationQuery

    def build(self) -> Marks:
        """It is its own builder."""
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it: they stand beside the others."""
        return {
            **self.query.to_json(),
            "step": _STEP,
            "tagKeys": signals.ENVIRONMENT.label,
            "textFormat": _PLACE,
            "titleFormat": self.query.name,
            "useValueForTime": False,
        }


def marks() -> list[Marks]:
    """Promotions in green and rollbacks in red."""
    return [
        Marks(_of_stage("Promotion", PROMOTE, panels.GREEN)),
        Marks(_of_stage("Rollback", ROLLBACK, panels.RED)),
    ]


def _of_stage(name: str, stage: str, color: str) -> model.AnnotationQuery:
    # Wider than a step, which would miss what comes between its samples and the next one's.
    # Neighbouring steps are one mark.
    said = increase(signals.MESSAGES, equals(signals.STAGE, stage), window=_WINDOW)
    return model.AnnotationQuery(
        name=name,
        datasource=PROMETHEUS,
        enable=True,
        icon_color=color,
        expr=f"{by('sum', said, *OF_RUN)} > 0",
    )
