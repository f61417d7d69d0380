"""Names and addresses that Prefect knows: deployments, and runs in its UI."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from uuid import UUID

from prefect_otel_status.model import Run
from prefect_otel_status.tally import Tally

_PLACEHOLDER = UUID(int=0)
_TIMEOUT = 2.0
_RETRY = 60.0


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
    """The names of deployments: from the process's environment, or asked for.

    A name is asked for once; where there is no answer, again after a minute.
    """

    def __init__(self, tally: Tally, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._clock = clock
        self._names: dict[str, str] = {}
        self._again: dict[str, float] = {}

    def name_of(self, run: Run) -> str:
        """The deployment of RUN as far as it is known; empty where there is none. Never waits."""
        if run.deployment_id is None:
            return ""
        return self._names.get(run.deployment_id) or os.environ.get("PREFECT__DEPLOYMENT_NAME", "")

    def resolve(self, run: Run) -> str:
        """The deployment of RUN, asked for at the server if need be: for our own threads only."""
        name = self.name_of(run)
        if name or run.deployment_id is None:
            return name
        if self._clock() < self._again.get(run.deployment_id, 0.0):
            return ""
        found = self._ask(run.deployment_id)
        if found:
            self._names[run.deployment_id] = found
        else:
            self._again[run.deployment_id] = self._clock() + _RETRY
        return found

    def _ask(self, deployment_id: str) -> str:
        from prefect.client.orchestration import get_client

        try:
            with get_client(sync_client=True, httpx_settings={"timeout": _TIMEOUT}) as client:
                return client.read_deployment(UUID(deployment_id)).name
        except Exception as error:
            self._tally.failed("deployment_name", error)
            return ""
