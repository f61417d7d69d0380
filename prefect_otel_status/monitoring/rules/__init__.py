"""Recording rules and alerts for Prometheus, made from `signals` alone."""

from prefect_otel_status.monitoring.rules.writing import files

__all__ = ["files"]
