"""Names and addresses that Prefect knows: deployments, and runs in its UI."""

from __future__ import annotations

import os
from uuid import UUID

from prefect_otel_status.model import Run
from prefect_otel_status.tally import Tally

_PLACEHOLDER = UUID(int=0)
_TIMEOUT = 2.0


class RunUrls:
    """The addresses of runs in Prefect's UI. The pattern is asked for once per kind."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._patterns: dict[str, str | None] = {}

    def of_run(self, kind: str, run_id: str) -> str | None:
        """The address of the flow or task run RUN_ID; None where no UI is known."""
        if kind not in self._patterns:
            self._patterns[kind] = self._ask(kind)
        pattern = self._patterns[kind]
        return pattern.replace(str(_PLACEHOLDER), run_id) if pattern else None

    def _ask(self, kind: str) -> str | None:
        from prefect.utilities.urls import url_for

        try:
            return url_for(f"{kind}-run", obj_id=_PLACEHOLDER)
        except Exception as error:
            self._tally.failed("run_url", error)
            return None


class Deployments:
    """The names of deployments: from the process's environment, or asked for once."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._names: dict[str, str] = {}

    def name_of(self, run: Run) -> str:
        """The deployment of RUN as far as it is known; empty where there is none. Never waits."""
        if run.deployment_id is None:
            return ""
        return self._names.get(run.deployment_id) or os.environ.get("PREFECT__DEPLOYMENT_NAME", "")

    def resolve(self, run: Run) -> str:
        """The deployment of RUN, asked for at the server if need be: for our own threads only."""
        name = self.name_of(run)
        if name or run.deployment_id is None or run.deployment_id in self._names:
            return name
        self._names[run.deployment_id] = self._ask(run.deployment_id)
        return self._names[run.deployment_id]

    def _ask(self, deployment_id: str) -> str:
        from prefect.client.orchestration import get_client

        try:
            with get_client(sync_client=True, httpx_settings={"timeout": _TIMEOUT}) as client:
                return client.read_deployment(UUID(deployment_id)).name
        except Exception as error:
            self._tally.failed("deployment_name", error)
            return ""
