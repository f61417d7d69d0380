"""What is done now and then: deployments and workers are looked at, what is old is forgotten."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge import ledger, recent
from prefect_otel_status.bridge.api import PrefectApi
from prefect_otel_status.bridge.catalogue import Key, Known, stale
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.core import Core
from prefect_otel_status.bridge.describe import Describer
from prefect_otel_status.bridge.gauges import Gauges
from prefect_otel_status.bridge.schedules import next_due, schedule_interval
from prefect_otel_status.bridge.wire import Deployment

_SECOND = 1_000_000_000


class Housekeeper:
    """Keeps the names, the schedules and the workers fresh, and the store small."""

    def __init__(self, core: Core, api: PrefectApi, describer: Describer, clean: Cleaning) -> None:
        self._core = core
        self._api = api
        self._describer = describer
        self._clean = clean
        self._flows: dict[str, str] = {}
        self.workers: Gauges = {}
        self.next_due: dict[Key, int] = {}

    async def look_at_deployments(self) -> None:
        """Read the deployments: their names for runs to come, their schedules for the gauges."""
        found = await self._api.deployments()
        self._describer.learn(found)
        now = self._core.clock()
        missing = {d.flow_id for d in found if d.flow_id} - self._flows.keys()
        self._flows.update(await self._api.flow_names(sorted(missing)) if missing else {})
        self.next_due = {self._key(d): due for d in found if (due := next_due(d, now=now))}
        changed = [known for d in found if (known := self._changed(d))]
        changed += self._unscheduled(found)
        if changed:
            await self._core.commit(lambda conn: self._core.catalogue.write(conn, changed))
            self._core.catalogue.adopt(changed)

    def _changed(self, deployment: Deployment) -> Known | None:
        before = self._core.catalogue.get(self._key(deployment))
        now = self._core.clock()
        interval = 0.0 if deployment.paused else schedule_interval(deployment, now=now)
        if interval == before.interval and before.last_seen:
            return None
        seen = before.last_seen or now
        return msgspec.structs.replace(before, interval=interval, last_seen=seen)

    def _unscheduled(self, listed: Iterable[Deployment]) -> list[Known]:
        """Those that were deleted: nothing is expected of them any more."""
        keys = {self._key(deployment) for deployment in listed}
        return [
            msgspec.structs.replace(known, interval=0.0)
            for known in self._core.catalogue.all()
            if known.interval and known.key not in keys
        ]

    def _key(self, deployment: Deployment) -> Key:
        flow = self._clean.line(self._flows.get(deployment.flow_id or "", ""))
        return flow, self._clean.line(deployment.name)

    async def look_at_workers(self) -> None:
        """Count the workers of each work pool by their state."""
        counts: dict[tuple[str, str], float] = {}
        for pool in await self._api.work_pools():
            name = self._clean.line(pool.name)
            counts |= {(name, "available"): 0.0, (name, "offline"): 0.0}
            for worker in await self._api.workers(pool.name):
                state = "available" if worker.status == "ONLINE" else "offline"
                counts[name, state] += 1
        self.workers = {signals.WORKER_COUNT: list(counts.items())}

    async def forget(self) -> None:
        """Forget runs that were settled long ago, and deployments that nobody runs any more."""
        before = self._core.clock() - int(self._core.options.retention * _SECOND)
        await self._core.commit(lambda connection: ledger.purge(connection, before=before))
        for key in await self._core.store.read(
            lambda connection: stale(connection, self._core.catalogue, before=before)
        ):
            await self._retire(key)

    async def _retire(self, key: Key) -> None:
        def work(connection: Connection) -> None:
            self._core.catalogue.retire(connection, key)
            recent.forget(connection, key)

        await self._core.commit_forgetting(work, key)
        self._core.catalogue.forget(key)
