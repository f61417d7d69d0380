"""The deployment that the runbooks talk of, on a real server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

NAME = "nightly"
FLOW = "deploy-model"
POOL = "kubernetes"


@dataclass(frozen=True)
class Nightly:
    """The ids that a runbook wants."""

    deployment: UUID
    ended_run: str

    def running_run(self, env: dict[str, str]) -> str:
        """The id of a new run that goes on."""
        return str(asyncio.run(_in(env, lambda client: _run(client, self.deployment, ended=False))))

    def schedule(self, env: dict[str, str]) -> str:
        """The id of a new schedule that is active."""
        return str(asyncio.run(_in(env, lambda client: _schedule(client, self.deployment))))


def a_nightly_deployment(env: dict[str, str]) -> Nightly:
    """Make the work pool, the deployment, and a run of it that has ended."""
    made: Nightly = asyncio.run(_in(env, _make))
    return made


async def _in(env: dict[str, str], work: Any) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: env["PREFECT_API_URL"]}):
        async with get_client() as client:
            return await work(client)


async def _make(client: Any) -> Nightly:
    from prefect import flow
    from prefect.client.schemas.actions import WorkPoolCreate

    @flow(name=FLOW)
    def deploy_model() -> None:
        """Never runs."""

    await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    flow_id = await client.create_flow(deploy_model)
    deployment = await client.create_deployment(flow_id=flow_id, name=NAME, work_pool_name=POOL)
    return Nightly(deployment, await _run(client, deployment, ended=True))


async def _schedule(client: Any, deployment: UUID) -> UUID:
    from prefect.client.schemas.schedules import IntervalSchedule

    every_night = (IntervalSchedule(interval=timedelta(days=1)), True)
    (made,) = await client.create_deployment_schedules(deployment, [every_night])
    found: UUID = made.id
    return found


async def _run(client: Any, deployment: UUID, *, ended: bool) -> str:
    from prefect.states import Completed, Pending, Running

    made = await client.create_flow_run_from_deployment(deployment)
    for state in (Pending(), Running(), *([Completed()] if ended else [])):
        await client.set_flow_run_state(made.id, state, force=True)
    return str(made.id)
