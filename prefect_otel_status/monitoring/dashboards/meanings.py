"""What values of labels mean: the word and the colour that are shown for each."""

from __future__ import annotations

from collections.abc import Mapping

from prefect_otel_status.monitoring.dashboards.panels import GREEN, GREY, ORANGE, RED, YELLOW, Steps

RESULTS = {
    "success": ("healthy", GREEN),
    "failure": ("failing", RED),
    "error": ("failing: crashed", RED),
    "timeout": ("failing: timed out", RED),
    "cancellation": ("cancelled", GREY),
    "skip": ("skipped", GREY),
}
"""How a deployment is, by the result of its latest run."""

HEALTH: Mapping[float, tuple[str, str]] = {
    1: ("healthy", GREEN),
    2: ("failing", RED),
    3: ("cancelled or skipped", GREY),
}
"""The same, by the numbers of `queries.run_health`."""

LEVELS = {
    "critical": ("critical", RED),
    "error": ("error", RED),
    "warning": ("warning", ORANGE),
    "info": ("info", GREEN),
    "debug": ("debug", GREY),
}

SEVERITIES = {
    "critical": ("critical", RED),
    "warning": ("warning", ORANGE),
    "info": ("info", GREY),
}

ANY: Steps = {1: RED}
"""One is too many."""

SILENCE: Steps = {300: YELLOW, 900: RED}
"""Seconds without a status: a run that says what it does seldom takes longer."""

WAIT: Steps = {60: YELLOW, 300: RED}
"""Seconds that a run waits for its start."""

CHANGE_FAILURES: Steps = {0.15: YELLOW, 0.3: RED}
"""The share of changes that are taken back."""

OUTAGE: Steps = {3_600: YELLOW, 86_400: RED}
"""Seconds that an outage lasted."""

BROKEN: Steps = {0: YELLOW, 3_600: ORANGE, 86_400: RED}
"""Seconds that an outage has lasted that is not over."""
