"""The configuration files of the stack: what stands beside the bridge, and how it is wired."""

from prefect_otel_status.monitoring.stack.files import files

__all__ = ["files"]
