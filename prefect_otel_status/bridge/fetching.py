"""What a server knows of runs beyond their rows: states, tasks, events; few requests at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from prefect_otel_status.bridge.parse import Parser
from prefect_otel_status.bridge.project import is_final
from prefect_otel_status.bridge.records import FLOW, Observation, Seen
from prefect_otel_status.bridge.wire import Event, State, TaskRun

T = TypeVar("T")

_NOTHING = Seen()
_AT_ONCE = 4
"""Requests under way at one time: the server is the flows', not ours."""


class Api(Protocol):
    """The calls that are needed; `api.PrefectApi` has them."""

    async def flow_states(self, flow_run_id: str) -> list[State]: ...

    async def task_states(self, task_run_id: str) -> list[State]: ...

    def events_of(
        self, run_ids: Sequence[str], *, kind: str
    ) -> AsyncIterator[tuple[list[Event], int]]: ...


class Fetcher:
    """Reads what is told of runs, as observations."""

    def __init__(self, api: Api, parser: Parser) -> None:
        self._api = api
        self._parser = parser
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def states(self, seen: Mapping[str, Seen]) -> list[Observation]:
        """The states that the flow runs in SEEN went through."""
        return await self._each(list(seen.items()), self._states_of)

    async def events(self, run_ids: Iterable[str], *, kind: str = FLOW) -> list[Observation]:
        """What the own events of the runs say, those of their tasks among them."""
        return await self._each([(run_id, kind) for run_id in run_ids], self._events_of)

    async def tasks(
        self,
        tasks: Sequence[TaskRun],
        read: Sequence[Observation],
        seen: Mapping[str, Seen],
        known: dict[str, set[str]],
    ) -> list[Observation]:
        """What TASKS say; all states of those that are not complete in KNOWN and READ.

        SEEN has their flow runs, KNOWN the keys of facts by subject; it grows by what was READ.
        """
        for observation in read:
            if state_id := getattr(observation.what, "id", ""):
                known.setdefault(observation.subject_id, set()).add(state_id)
        lacking = [task for task in tasks if not is_complete(task, known.get(task.id, set()))]
        pairs = [(task, seen.get(task.flow_run_id or "", _NOTHING)) for task in lacking]
        found = [
            o
            for task in tasks
            for o in self._parser.task_run(task, seen.get(task.flow_run_id or "", _NOTHING))
        ]
        return found + await self._each(pairs, self._task_states)

    async def _states_of(self, item: tuple[str, Seen]) -> list[Observation]:
        run_id, seen = item
        states = await self._api.flow_states(run_id)
        return [o for state in states for o in self._parser.flow_state(run_id, state, seen)]

    async def _events_of(self, item: tuple[str, str]) -> list[Observation]:
        run_id, kind = item
        found: list[Observation] = []
        async for events, _ in self._api.events_of([run_id], kind=kind):
            for event in events:
                found.extend(self._parser.event(event))
        return found

    async def _task_states(self, item: tuple[TaskRun, Seen]) -> list[Observation]:
        task, seen = item
        states = await self._api.task_states(task.id)
        return self._parser.task_states(task, states, seen)

    async def _each(
        self, items: Sequence[T], read: Callable[[T], Awaitable[list[Observation]]]
    ) -> list[Observation]:
        async def one(item: T) -> list[Observation]:
            async with self._gate:
                return await read(item)

        batches = await asyncio.gather(*(one(item) for item in items))
        return [observation for batch in batches for observation in batch]


def is_complete(task: TaskRun, known: set[str]) -> bool:
    """Whether all states of TASK are KNOWN: the one it is in, and as many as it must have had.

    That is one before it ran, one for each execution, and a final one. A task
    that waited before it was retried has more; the caller sees to those.
    """
    if task.state is None or (
        task.state.state_details and task.state.state_details.child_flow_run_id
    ):
        return True  # it stands for a subflow, and has no events
    had = 1 + task.run_count + is_final(task.state.type)
    return task.state.id in known and sum(":" not in key for key in known) >= had
