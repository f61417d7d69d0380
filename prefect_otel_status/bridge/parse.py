"""Prefect's events, runs and states as observations. Pure; what cannot be read is passed over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from prefect_otel_status import signals
from prefect_otel_status.bridge import statuses
from prefect_otel_status.bridge.cleaning import Cleaning
from prefect_otel_status.bridge.records import (
    FLOW,
    TASK,
    Heartbeat,
    Observation,
    Seen,
    StateFact,
)
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.bridge.wire import Event, FlowRun, State, TaskRun

FLOW_EVENT = "prefect.flow-run."
TASK_EVENT = "prefect.task-run."
HEARTBEAT = "prefect.flow-run.heartbeat"

_replace = msgspec.structs.replace

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

OnBad = Callable[[str], None]


class Parser:
    """Reads events. `on_bad` is told what was wrong with one that cannot be read."""

    def __init__(self, clean: Cleaning, *, on_bad: OnBad) -> None:
        self._clean = clean
        self._on_bad = on_bad

    def event(self, event: Event) -> list[Observation]:
        """What EVENT says; nothing where it is of no interest or cannot be read."""
        try:
            return list(self._event(event))
        except Exception:
            self._on_bad("unreadable")
            return []

    def flow_run(self, run: FlowRun, seen: Seen) -> list[Observation]:
        """What the API says of RUN: SEEN, and the state that it is in."""
        run_id = uuid(run.id)
        if not run_id:
            self._on_bad("bad_id")
            return []
        found = [Observation(run_id=run_id, subject_id=run_id, what=seen)]
        return found + (self.flow_state(run_id, run.state, seen) if run.state else [])

    def state(self, state: State) -> StateFact | None:
        """STATE as a fact; None where it has no id or type."""
        if not uuid(state.id) or not state.type:
            return None
        return StateFact(
            id=state.id,
            type=self._clean.line(state.type),
            name=self._clean.line(state.name or state.type.title()),
            at=nanoseconds(state.timestamp),
            message=self._clean.text(state.message),
        )

    def flow_state(self, run_id: str, state: State, seen: Seen) -> list[Observation]:
        """STATE of the flow run RUN_ID, of which SEEN is known."""
        fact = self.state(state)
        names = seen.flow_name, seen.deployment_name, seen.name
        return [Observation(run_id, run_id, fact, *names)] if fact else []

    def task_run(self, run: TaskRun, seen: Seen) -> list[Observation]:
        """What the API says of the task run RUN, of whose flow run SEEN is known."""
        run_id = uuid(run.id)
        fact = self.state(run.state) if run.state is not None else None
        if not run_id or fact is None:
            return []
        described = self._described(fact, _task_payload(run), run.name)
        details = run.state.state_details if run.state else None
        child = (details.child_flow_run_id if details else None) or ""
        what = _replace(described, child_run_id=uuid(child))
        flow_run_id = uuid(run.flow_run_id)
        kind = FLOW if flow_run_id else TASK
        names = seen.flow_name, seen.deployment_name, seen.name
        return [Observation(flow_run_id or run_id, run_id, what, *names, kind)]

    def task_states(self, run: TaskRun, states: Sequence[State], seen: Seen) -> list[Observation]:
        """All STATES of the task run RUN, which tells its count of attempts only as it is now."""
        found: list[Observation] = []
        attempt = 0
        for state in sorted(states, key=lambda s: (nanoseconds(s.timestamp), s.id)):
            attempt += state.type == "RUNNING"
            earlier = _replace(run, state=state, run_count=attempt)
            found += self.task_run(earlier, seen)
        return found

    def _event(self, event: Event) -> Iterator[Observation]:
        name = event.event
        subject = _subject(event)
        if name == HEARTBEAT:
            yield from self._heartbeat(event, subject)
        elif name == signals.PREFECT_EVENT:
            yield from self._statuses(event, subject)
        elif name.startswith((FLOW_EVENT, TASK_EVENT)):
            yield from self._state_event(event, subject, is_task=name.startswith(TASK_EVENT))

    def _heartbeat(self, event: Event, subject: str) -> Iterator[Observation]:
        if subject:
            # By the server's clock: the client's may be hours off.
            at = nanoseconds(event.received) or _when(event)
            yield self._about(event, subject, subject, Heartbeat(at=at))
        else:
            self._on_bad("bad_id")

    def _statuses(self, event: Event, subject: str) -> Iterator[Observation]:
        run_id = _flow_run(event) or subject
        if not subject:
            self._on_bad("bad_id")
            return
        received = nanoseconds(event.received)
        for fact in statuses.read(event.payload, self._clean, received=received):
            yield self._about(event, run_id, subject, fact)

    def _state_event(self, event: Event, subject: str, *, is_task: bool) -> Iterator[Observation]:
        kind = event.resource.get("prefect.state-type")
        if not kind:
            return  # of another kind, such as a change of its name
        if not subject or not uuid(event.id):
            self._on_bad("bad_id")
            return
        fact = self._state_fact(event, str(kind))
        run_id = (_flow_run(event) or subject) if is_task else subject
        if is_task and isinstance(event.payload.get("task_run"), dict):
            fact = self._described(
                fact, event.payload["task_run"], event.resource.get("prefect.resource.name")
            )
        yield self._about(event, run_id, subject, fact)

    def _state_fact(self, event: Event, kind: str) -> StateFact:
        resource = event.resource
        return StateFact(
            id=event.id,
            type=self._clean.line(kind),
            name=self._clean.line(resource.get("prefect.state-name") or kind.title()),
            at=nanoseconds(resource.get("prefect.state-timestamp")) or _when(event),
            message=self._clean.text(resource.get("prefect.state-message")),
            received=nanoseconds(event.received),
        )

    def _described(self, fact: StateFact, task: dict[str, Any], name: object) -> StateFact:
        labels = task.get("labels")
        label = labels.get(signals.TRACEPARENT_LABEL) if isinstance(labels, dict) else None
        run_name = str(name or task.get("name") or "")
        task_name = task_name_of(
            run_name, str(task.get("task_key") or ""), str(task.get("dynamic_key") or "")
        )
        return _replace(
            fact,
            task_name=self._clean.line(task_name),
            run_name=self._clean.line(run_name),
            traceparent=traceparent(label),
            attempt=_count(task.get("run_count")),
            started=nanoseconds(task.get("start_time")),
            ended=nanoseconds(task.get("end_time")),
        )

    def _about(self, event: Event, run_id: str, subject: str, what: Any) -> Observation:
        flow = deployment = run_name = ""
        for related in event.related:
            role = related.get("prefect.resource.role")
            if role == "flow":
                flow = self._clean.line(related.get("prefect.resource.name") or "")
            elif role == "deployment":
                deployment = self._clean.line(related.get("prefect.resource.name") or "")
            elif role == "flow-run":
                run_name = self._clean.line(related.get("prefect.resource.name") or "")
        if subject == run_id:
            run_name = self._clean.line(event.resource.get("prefect.resource.name") or "")
        kind = TASK if run_id == subject and _is_of_task(event) else FLOW
        return Observation(run_id, subject, what, flow, deployment, run_name, kind)


def uuid(value: object) -> str:
    """VALUE where it is a UUID as Prefect writes them, else the empty text."""
    return value if isinstance(value, str) and _UUID.fullmatch(value) else ""


def traceparent(value: object) -> str:
    """VALUE where it is a W3C traceparent with valid ids, else the empty text."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else ""


def task_name_of(run_name: str, task_key: str, dynamic_key: str) -> str:
    """The name of the task behind a task run, which Prefect does not tell as such.

    Runs are named `<task>-<start of the dynamic key>` unless their author named
    them; then the key, `<function>-<hash>`, comes nearest.
    """
    for suffix in (f"-{dynamic_key[:3]}", f"-{dynamic_key}"):
        if len(suffix) > 1 and run_name.endswith(suffix):
            return run_name[: -len(suffix)]
    return task_key.rpartition("-")[0] or run_name


def _subject(event: Event) -> str:
    return uuid(str(event.resource.get("prefect.resource.id") or "")[-36:])


def _is_of_task(event: Event) -> bool:
    return str(event.resource.get("prefect.resource.id") or "").startswith(TASK_EVENT)


def _flow_run(event: Event) -> str:
    for related in event.related:
        if related.get("prefect.resource.role") == "flow-run":
            return uuid(str(related.get("prefect.resource.id") or "")[-36:])
    resource = str(event.resource.get("prefect.resource.id") or "")
    return uuid(resource[-36:]) if resource.startswith(FLOW_EVENT) else ""


def _when(event: Event) -> int:
    return nanoseconds(event.occurred) or nanoseconds(event.received)


def _task_payload(run: TaskRun) -> dict[str, Any]:
    return {
        "labels": run.labels,
        "run_count": run.run_count,
        "task_key": run.task_key,
        "dynamic_key": run.dynamic_key,
        "start_time": run.start_time,
        "end_time": run.end_time,
    }


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**31 else 0
