"""Which deployment or flow a person means, and whose a line is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from prefect_otel_status.bridge import wire
from prefect_otel_status.bridge.describe import Cache
from prefect_otel_status.bridge.records import Seen
from prefect_otel_status.terminal.find import NotFound
from prefect_otel_status.terminal.lines import Line

_IDENTIFIED = msgspec.json.Decoder(list[dict[str, Any]])


class Requests(Protocol):
    """Sends requests; `Connection` does."""

    async def post(self, path: str, body: Any) -> bytes: ...


class Api(Protocol):
    """The calls that are needed; `api.PrefectApi` has them."""

    async def deployments(self) -> list[wire.Deployment]: ...

    async def flow_names(self, ids: Iterable[str]) -> dict[str, str]: ...

    async def runs_by_id(self, ids: Iterable[str]) -> list[wire.FlowRun]: ...


class Describe(Protocol):
    """Describes runs; `Describer` does."""

    async def describe(self, runs: list[wire.FlowRun]) -> Mapping[str, Seen]: ...


@dataclass(frozen=True)
class Target:
    """A deployment, or a flow: what is given must be so."""

    flow: str = ""
    deployment: str = ""

    def has(self, flow: str, deployment: str) -> bool:
        """Whether a run of FLOW and DEPLOYMENT belongs to it."""
        return self.flow in ("", flow) and self.deployment in ("", deployment)


async def find_targets(requests: Requests, api: Api, text: str) -> tuple[Target, ...]:
    """What TEXT names: `flow/deployment`, or deployments and a flow of that name.

    Raises `NotFound` that says what else to write.
    """
    text = text.strip()
    flow, slash, name = text.rpartition("/")
    if slash and await _is_deployment(requests, name, flow):
        return (Target(flow, name),)
    found = []
    if text and not slash and await _is_deployment(requests, text):
        found.append(Target(deployment=text))
    if text and await _is_flow(requests, text):
        found.append(Target(flow=text))
    if not found:
        raise NotFound(f"No deployment or flow is called {text!r}; {await _hint(api, text)}.")
    return tuple(found)


async def _is_deployment(requests: Requests, name: str, flow: str = "") -> bool:
    query: dict[str, Any] = {"deployments": {"name": {"any_": [name]}}, "limit": 1}
    if flow:
        query["flows"] = {"name": {"any_": [flow]}}
    return bool(_IDENTIFIED.decode(await requests.post("deployments/filter", query)))


async def _is_flow(requests: Requests, name: str) -> bool:
    query = {"flows": {"name": {"any_": [name]}}, "limit": 1}
    return bool(_IDENTIFIED.decode(await requests.post("flows/filter", query)))


async def _hint(api: Api, text: str) -> str:
    known = await deployment_names(api)
    names = {name: name for name in known} | {name.rpartition("/")[2]: name for name in known}
    near = difflib.get_close_matches(text, names, n=1)
    return f"perhaps {names[near[0]]}" if near else "`prefect-otel-status ls` lists them"


async def deployment_names(api: Api) -> list[str]:
    """All deployments as `flow/deployment`, in order."""
    found = await api.deployments()
    flows = await api.flow_names({each.flow_id for each in found if each.flow_id})
    return sorted(f"{flows.get(each.flow_id or '', '')}/{each.name}" for each in found)


class Wanted:
    """Says which lines belong to TARGETS; none are all.

    What a subflow says belongs to the deployment of the outermost run above it,
    which is asked for once.
    """

    def __init__(self, targets: tuple[Target, ...], api: Api, describer: Describe) -> None:
        self._targets = targets
        self._api = api
        self._describer = describer
        self._above: Cache[bool] = Cache()

    async def chosen(self, lines: list[Line]) -> list[Line]:
        """Those of LINES that are wanted. Raises as `Connection` does."""
        if not self._targets:
            return lines
        unknown = {line.run_id for line in lines if self._is_open(line)} - self._above.keys()
        for run_id, is_wanted in (await self._look_up(sorted(unknown))).items():
            self._above.keep(run_id, is_wanted)
        return [line for line in lines if self._is_of(line.flow, line.deployment) or self._is(line)]

    def _is(self, line: Line) -> bool:
        return self._is_open(line) and self._above.get(line.run_id, False)

    def _is_open(self, line: Line) -> bool:
        """Whether only the run above LINE's can say."""
        own = self._is_of(line.flow, line.deployment)
        return bool(line.run_id) and not line.deployment and not own

    def _is_of(self, flow: str, deployment: str) -> bool:
        return any(target.has(flow, deployment) for target in self._targets)

    async def _look_up(self, run_ids: list[str]) -> dict[str, bool]:
        if not run_ids:
            return {}
        found = await self._describer.describe(await self._api.runs_by_id(run_ids))
        roots = {found[run_id].root_run_id for run_id in run_ids if run_id in found}
        above = await self._describer.describe(await self._api.runs_by_id(sorted(roots)))
        return {run_id: self._is_below(found.get(run_id), above) for run_id in run_ids}

    def _is_below(self, seen: Seen | None, above: Mapping[str, Seen]) -> bool:
        root = above.get(seen.root_run_id) if seen else None
        return root is not None and self._is_of(root.flow_name, root.deployment_name)
