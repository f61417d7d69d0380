"""Where dashboards and alerts lead to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Links:
    """Addresses of what stands beside Prometheus, as a person's browser reaches them.

    RUNBOOKS is what the name of an alert is put behind; the bridge serves them where none is given.
    """

    grafana: str = "http://127.0.0.1:3000"
    prefect: str = "http://127.0.0.1:4200"
    jaeger: str = "http://127.0.0.1:16686"
    bridge: str = "http://127.0.0.1:9464"
    runbooks: str = ""

    def runbook(self, alert: str) -> str:
        """The page that says what ALERT means and what to do."""
        return f"{self.runbooks or self.bridge + '/runbooks'}/{alert}"
