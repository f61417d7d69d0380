"""The page of one deployment: how it is, what it last said, where its last run can be seen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

HEALTH = {
    "healthy": "Healthy: its latest run succeeded.",
    "failing": "Failing: its latest run did not succeed.",
    "unknown": "Unknown: no run has ended with a result that says.",
}

_STEPS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))


def deployment_page(
    deployment: Mapping[str, Any],
    *,
    last_run: Mapping[str, Any] | None,
    links: Mapping[str, str],
    now_ns: int,
) -> str:
    """The page as HTML. DEPLOYMENT is a row of `/api/deployments`, LAST_RUN of `/api/runs/{id}`.

    LINKS lead to the last run elsewhere, by what they are called. All text is escaped.
    """
    return _template().render(
        deployment=deployment,
        health=HEALTH[deployment["health"]],
        last_run=last_run,
        links=links,
        ago=lambda text: ago(text, now_ns=now_ns),
    )


def ago(text: str | None, *, now_ns: int) -> str:
    """How long before NOW_NS the time TEXT was, in its largest unit; `never` for none."""
    if not text:
        return "never"
    then = datetime.fromisoformat(text.replace("Z", "+00:00"))
    now = datetime.fromtimestamp(now_ns / 1e9, tz=timezone.utc)
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in _STEPS:
        if seconds >= size:
            number = seconds // size
            return f"{number} {unit if number > 1 else unit[:-1]} ago"
    return "now"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("prefect_otel_status.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("deployment.html")
