"""What runs say and which states they go into, as lines: for the eye and for tools. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from typing import Any

from rich.text import Text

from prefect_otel_status.bridge.records import TASK, Observation, StateFact, StatusFact
from prefect_otel_status.bridge.times import iso
from prefect_otel_status.model import ERROR_RESULTS, LEVELS, result_of
from prefect_otel_status.trees import COLOURS, MARKS, USUAL_STATES

STATUS, STATE = "status", "state"
_WORD = 9
"""Columns of a level or a state: `Completed` and `critical` fit."""


@dataclass(frozen=True)
class Line:
    """A status, or a change of state. `at` is in nanoseconds since 1970.

    `key` is the same whichever way it came. A task's has `task_run_id`; its
    `task` is known for its states alone. A task that is in no flow run has no
    `run_id`.
    """

    key: tuple[str, str]
    at: int
    kind: str
    level: str
    message: str
    flow: str = ""
    deployment: str = ""
    run_id: str = ""
    run_name: str = ""
    task_run_id: str = ""
    task: str = ""
    state: str = ""
    state_type: str = ""
    stage: str = ""
    template: str = ""
    progress: float | None = None

    @property
    def result(self) -> str | None:
        """How the run ended, where this is its end."""
        return result_of(self.state_type, self.state)


def lines_of(observations: Iterable[Observation]) -> Iterator[Line]:
    """Those of OBSERVATIONS that are lines."""
    for seen in observations:
        if isinstance(seen.what, StatusFact):
            yield _status(seen, seen.what)
        elif isinstance(seen.what, StateFact):
            yield _state(seen, seen.what)


def is_at_least(line: Line, level: str) -> bool:
    """Whether LINE is of LEVEL or above."""
    return LEVELS.index(line.level) >= LEVELS.index(level)


def as_json(line: Line) -> str:
    """LINE as one JSON object; its fields are always there, and null where nothing is known."""
    found: dict[str, Any] = {
        "time": iso(line.at),
        "kind": line.kind,
        "level": line.level,
        "message": line.message or None,
        "state": line.state or None,
        "state_type": line.state_type or None,
        "stage": line.stage or None,
        "progress": line.progress,
        "template": line.template or None,
        "flow": line.flow or None,
        "deployment": line.deployment or None,
        "run": line.run_name or None,
        "run_id": line.run_id or None,
        "task": line.task or None,
        "task_run_id": line.task_run_id or None,
    }
    return json.dumps(found, ensure_ascii=False)


def as_text(line: Line, *, now: int | None = None, zone: tzinfo | None = None) -> Text:
    """LINE for the eye: local time, whose it is, level or state, what was said.

    The day is there where it is not that of NOW, in nanoseconds since 1970.
    """
    now = time.time_ns() if now is None else now
    found = Text.assemble((_time(line.at, now, zone), "dim"), "  ", (_whose(line), "cyan"), "  ")
    word, colour = (line.level, COLOURS.get(line.level, "")) if line.kind == STATUS else _of(line)
    found.append(f"{word:<{_WORD}}", colour or "dim")
    if said := _said(line):
        found.append("  ").append(said, colour if line.kind == STATUS else "dim")
    if line.stage:
        found.append(f"  [{line.stage}]", "dim")
    found.rstrip()
    return found


def _status(seen: Observation, fact: StatusFact) -> Line:
    return Line(
        **_about(seen, fact),
        kind=STATUS,
        level=fact.level,
        message=_one(fact.message),
        stage=fact.stage,
        template=fact.label,
        progress=fact.progress,
    )


def _state(seen: Observation, fact: StateFact) -> Line:
    about = _about(seen, fact)
    return Line(
        **about,
        kind=STATE,
        level=_level(fact, is_task=bool(about["task_run_id"])),
        message=_one(fact.message),
        task=fact.run_name,
        state=fact.name,
        state_type=fact.type,
    )


def _level(fact: StateFact, *, is_task: bool) -> str:
    if result_of(fact.type, fact.name) in ERROR_RESULTS:
        return "error"
    return "debug" if is_task and fact.name in USUAL_STATES else "info"


def _about(seen: Observation, fact: StatusFact | StateFact) -> dict[str, Any]:
    is_task = seen.subject_id != seen.run_id or seen.kind == TASK
    return {
        "key": (seen.subject_id, fact.key),
        "at": fact.at,
        "flow": seen.flow_name,
        "deployment": seen.deployment_name,
        "run_id": "" if seen.kind == TASK else seen.run_id,
        "run_name": "" if seen.kind == TASK else seen.run_name,
        "task_run_id": seen.subject_id if is_task else "",
    }


def _one(text: str) -> str:
    """TEXT on one line."""
    return " ".join(text.split())


def _whose(line: Line) -> str:
    run = line.run_name or line.run_id or line.task or line.task_run_id
    return f"{line.flow}/{run}" if line.flow else run


def _of(line: Line) -> tuple[str, str]:
    return line.state, MARKS.get(line.result or "", ("", ""))[1]


def _said(line: Line) -> str:
    # A task in no run is named as whose it is.
    task = line.task if line.run_id else ""
    return ": ".join(filter(None, (task, line.message)))


def _time(at: int, now: int, zone: tzinfo | None) -> str:
    moment, today = _local(at, zone), _local(now, zone)
    return f"{moment:%H:%M:%S}" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M:%S}"


def _local(nanoseconds: int, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc).astimezone(zone)
