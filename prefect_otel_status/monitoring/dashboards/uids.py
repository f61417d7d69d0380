"""The addresses of the dashboards. They never change: bookmarks, alerts and links use them."""

from __future__ import annotations

HEALTH = "prefect-health"
STATUSES = "prefect-statuses"
RUN = "prefect-run"
DELIVERY = "prefect-delivery"
WORKERS = "prefect-workers"
BRIDGE = "prefect-bridge"

TAG = "prefect"
"""The tag by which they find one another."""
