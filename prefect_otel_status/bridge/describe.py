"""What must be known of a flow run beyond its events: names, and where it hangs in a tree."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from prefect_otel_status import signals
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.parse import traceparent, uuid
from prefect_otel_status.bridge.records import Seen
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.bridge.tracing import read_traceparent, write_traceparent
from prefect_otel_status.bridge.wire import Deployment, FlowRun, TaskRun
from prefect_otel_status.ids import run_span_id_of, trace_id_of

V = TypeVar("V")

_CACHED = 20_000
_DEEPEST = 50
"""Runs above one another; a chain that is longer is a circle, or of no use to anybody."""


class Api(Protocol):
    """The calls that describing needs; `api.PrefectApi` has them."""

    async def flow_names(self, ids: Iterable[str]) -> dict[str, str]: ...

    async def deployments(self) -> list[Deployment]: ...

    async def runs_by_id(self, ids: Iterable[str]) -> list[FlowRun]: ...

    async def task_runs_by_id(self, ids: Iterable[str]) -> list[TaskRun]: ...


class Cache(OrderedDict[str, V]):
    """A dictionary that forgets its oldest beyond a limit."""

    def keep(self, key: str, value: V) -> None:
        """Set KEY to VALUE."""
        self[key] = value
        while len(self) > _CACHED:
            self.popitem(last=False)


class Describer:
    """Describes flow runs; asks for each name and each parent once."""

    def __init__(self, api: Api, clean: Cleaning) -> None:
        self._api = api
        self._clean = clean
        self._flows: Cache[str] = Cache()
        self._deployments: dict[str, str] = {}
        self._parents: Cache[tuple[str, str]] = Cache()
        self._described: Cache[Seen] = Cache()

    async def describe(self, runs: Sequence[FlowRun], *, depth: int = 0) -> dict[str, Seen]:
        """What is to be known of RUNS, by id. A parent that is gone makes its child a root."""
        await self._learn_flows(runs)
        await self._learn_deployments(runs)
        await self._learn_parents(runs)
        above = {self._parent_of(run)[0] for run in runs} - {""}
        parents = await self._described_parents(above, depth)
        found = {run.id: self._seen(run, parents) for run in runs}
        for run_id, seen in found.items():
            self._described.keep(run_id, seen)
        return found

    def learn(self, deployments: Iterable[Deployment]) -> None:
        """Take the names of DEPLOYMENTS over."""
        self._deployments.update((d.id, self._clean.line(d.name)) for d in deployments)

    async def _learn_flows(self, runs: Sequence[FlowRun]) -> None:
        missing = {run.flow_id for run in runs if run.flow_id} - self._flows.keys()
        if missing:
            for flow_id, name in (await self._api.flow_names(sorted(missing))).items():
                self._flows.keep(flow_id, self._clean.line(name))

    async def _learn_deployments(self, runs: Sequence[FlowRun]) -> None:
        needed = {run.deployment_id for run in runs if run.deployment_id}
        if needed - self._deployments.keys():
            self.learn(await self._api.deployments())
            for gone in needed - self._deployments.keys():
                self._deployments[gone] = ""

    async def _learn_parents(self, runs: Sequence[FlowRun]) -> None:
        needed = {run.parent_task_run_id for run in runs if run.parent_task_run_id}
        missing = needed - self._parents.keys()
        if not missing:
            return
        for task in await self._api.task_runs_by_id(sorted(missing)):
            label = traceparent((task.labels or {}).get(signals.TRACEPARENT_LABEL))
            self._parents.keep(task.id, (uuid(task.flow_run_id), label))

    async def _described_parents(self, ids: set[str], depth: int) -> dict[str, Seen]:
        known = {run_id: self._described[run_id] for run_id in ids if run_id in self._described}
        missing = sorted(ids - known.keys())
        if missing and depth < _DEEPEST:
            runs = await self._api.runs_by_id(missing)
            known |= await self.describe(runs, depth=depth + 1)
        return known

    def _parent_of(self, run: FlowRun) -> tuple[str, str]:
        return self._parents.get(run.parent_task_run_id or "", ("", ""))

    def _seen(self, run: FlowRun, parents: dict[str, Seen]) -> Seen:
        parent_id, label = self._parent_of(run)
        parent = parents.get(parent_id)
        root = (parent.root_run_id if parent else "") or run.id
        labels = run.labels or {}
        return Seen(
            name=self._clean.line(run.name),
            flow_name=self._flows.get(run.flow_id or "", ""),
            deployment_id=run.deployment_id or "",
            deployment_name=self._deployments.get(run.deployment_id or "", ""),
            parent_run_id=parent_id if parent else "",
            root_run_id=root,
            parent_traceparent=_above(parent_id, parent, label, root) if parent else "",
            traceparent=traceparent(labels.get(signals.TRACEPARENT_LABEL)),
            bound=self._bound(labels),
            expected_start=nanoseconds(run.expected_start_time),
            started=nanoseconds(run.start_time),
            ended=nanoseconds(run.end_time),
            run_count=run.run_count,
            updated=nanoseconds(run.updated),
            work_pool=self._clean.line(run.work_pool_name),
        )

    def _bound(self, labels: dict[str, object]) -> dict[str, object]:
        prefix = signals.BOUND_LABEL_PREFIX
        return self._clean.attributes(
            {name[len(prefix) :]: labels[name] for name in labels if name.startswith(prefix)}
        )


def _above(parent_id: str, parent: Seen, label: str, root: str) -> str:
    """The span below which a child of PARENT hangs: its process's, else the bridge's own."""
    if label or parent.traceparent:
        return label or parent.traceparent
    above = read_traceparent(parent.parent_traceparent)
    trace_id = above.trace_id if above else trace_id_of(root)
    sampled = above.sampled if above else True
    return write_traceparent(trace_id, run_span_id_of(parent_id), sampled=sampled)
