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
    schedule: str
    ended_run: str

    def running_run(self, env: dict[str, str]) -> str:
        """The id of a new run that goes on."""
        return asyncio.run(_in(env, lambda client: _run(client, self.deployment, ended=False)))


def a_nightly_deployment(env: dict[str, str]) -> Nightly:
    """Make the work pool, the deployment with its schedule, and a run that has ended."""
    return asyncio.run(_in(env, _make))


async def _in(env: dict[str, str], work: Any) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: env["PREFECT_API_URL"]}):
        async with get_client() as client:
            return await work(client)


async def _make(client: Any) -> Nightly:
    from prefect import flow
    from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    @flow(name=FLOW)
    def deploy_model() -> None:
        """Never runs."""

    await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    every_night = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(days=1)))
    deployment = await client.create_deployment(
        flow_id=await client.create_flow(deploy_model),
        name=NAME,
        work_pool_name=POOL,
        schedules=[every_night],
    )
    (schedule,) = await client.read_deployment_schedules(deployment)
    return Nightly(deployment, str(schedule.id), await _run(client, deployment, ended=True))


async def _run(client: Any, deployment: UUID, *, ended: bool) -> str:
    from prefect.states import Completed, Pending, Running

    made = await client.create_flow_run_from_deployment(deployment)
    for state in (Pending(), Running(), *([Completed()] if ended else [])):
        await client.set_flow_run_state(made.id, state, force=True)
    return str(made.id)
