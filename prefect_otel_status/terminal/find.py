"""Which run a person means: by its id, its name, the beginning of either, or as the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from prefect_otel_status.bridge.wire import FlowRun

RECENT = 200
"""Runs whose ids are compared with the beginning of one: the server cannot search for it."""

_SHOWN = 5
_BEGUN: dict[str, Any] = {"start_time": {"is_null_": False}}
_OUTERMOST: dict[str, Any] = {"parent_task_run_id": {"is_null_": True}}


class NotFound(Exception):  # noqa: N818 - the person's to mend, not a failure
    """No run, or more than one, is what was asked for; the text says what to do."""


class Api(Protocol):
    """The call that finding needs; `api.PrefectApi` has it."""

    async def latest_runs(
        self,
        flow_runs: dict[str, Any] | None = None,
        *,
        deployments: dict[str, Any] | None = None,
        flows: dict[str, Any] | None = None,
        limit: int = ...,
    ) -> list[FlowRun]: ...


async def find_run(api: Api, text: str) -> str:
    """The id of the run that TEXT names. Raises `NotFound` that says what else to write."""
    text = text.strip()
    if (run_id := _whole_id(text)) is not None:
        return run_id
    named = await api.latest_runs({"name": {"like_": text}}, limit=RECENT) if text else []
    exact = [run for run in named if run.name == text]
    found = exact or [run for run in named if _begins(run.name, text)]
    found = found or [r for r in await api.latest_runs(limit=RECENT) if r.id.startswith(text)]
    if not text or not found:
        raise NotFound(
            f"No run is called {text!r} or begins so; copy its id from Prefect, or use --last."
        )
    return _one_of(found, text)


async def find_last(api: Api, deployment: str | None) -> str:
    """The id of the flow run that began last, of all or of DEPLOYMENT, `flow/deployment`.

    Subflows do not count. Raises `NotFound` where none has begun.
    """
    begun = {**_BEGUN, **_OUTERMOST}
    if deployment is None:
        found = await api.latest_runs(begun, limit=1)
    else:
        flow, slash, name = deployment.rpartition("/")
        flows = {"name": {"any_": [flow]}} if slash else None
        found = await api.latest_runs(
            begun, deployments={"name": {"any_": [name]}}, flows=flows, limit=1
        )
        if not found and not slash:
            found = await api.latest_runs(begun, flows={"name": {"any_": [name]}}, limit=1)
    if not found:
        where = f" of {deployment}" if deployment else ""
        raise NotFound(f"No run{where} has begun yet; `prefect-otel-status ls` lists deployments.")
    return found[0].id


def _whole_id(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _begins(name: str | None, text: str) -> bool:
    return bool(name) and str(name).lower().startswith(text.lower())


def _one_of(runs: Sequence[FlowRun], text: str) -> str:
    if len(runs) == 1:
        return runs[0].id
    listed = "".join(f"\n  {run.id}  {run.name}" for run in runs[:_SHOWN])
    more = f"\n  and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    raise NotFound(f"{text!r} is more than one run; write one of these ids:{listed}{more}")
