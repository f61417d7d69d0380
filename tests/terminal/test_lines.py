"""Which observations are lines, their levels, and how they are printed."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from typing import Any

import pytest

from prefect_otel_status.bridge.records import (
    FLOW,
    TASK,
    Heartbeat,
    Observation,
    StageFact,
    StateFact,
    StatusFact,
)
from prefect_otel_status.terminal.lines import Line, as_json, as_text, is_at_least, lines_of
from tests.support.records import FLOW_RUN_ID, NOW, SECOND, TASK_RUN_ID

STATE_ID = "4f9e6c1d-77aa-4f0e-8a55-5d3f2c1b0a99"
EAST = timezone(timedelta(hours=2))
DAY = 86_400 * SECOND


def seen(what: Any, *, subject: str = FLOW_RUN_ID, kind: str = FLOW) -> Observation:
    run = TASK_RUN_ID if kind == TASK else FLOW_RUN_ID
    return Observation(run, subject, what, "train", "prod", "wise-owl", kind)


def state(kind: str, name: str, message: str = "", task: str = "") -> StateFact:
    return StateFact(STATE_ID, kind, name, NOW, message, run_name=task)


def one(observation: Observation) -> Line:
    (line,) = lines_of([observation])
    return line


STATUS = StatusFact(
    at=NOW,
    template="Scored {model}",
    message="Scored\n  bert",
    stage="evaluate",
    level="warning",
    progress=0.5,
    attempt=1,
    sequence=3,
)


def test_a_status_is_a_line_with_all_that_is_known() -> None:
    assert one(seen(STATUS)) == Line(
        key=(FLOW_RUN_ID, f"said:1:3:{NOW}"),
        at=NOW,
        kind="status",
        level="warning",
        message="Scored bert",
        flow="train",
        deployment="prod",
        run_id=FLOW_RUN_ID,
        run_name="wise-owl",
        stage="evaluate",
        template="Scored {model}",
        progress=0.5,
    )


def test_json_has_every_field_whatever_it_is_about() -> None:
    said = json.loads(as_json(one(seen(STATUS, subject=TASK_RUN_ID))))
    assert said == {
        "time": "2023-11-14T22:13:20.000000Z",
        "kind": "status",
        "level": "warning",
        "message": "Scored bert",
        "state": None,
        "state_type": None,
        "stage": "evaluate",
        "progress": 0.5,
        "template": "Scored {model}",
        "flow": "train",
        "deployment": "prod",
        "run": "wise-owl",
        "run_id": FLOW_RUN_ID,
        "task": None,
        "task_run_id": TASK_RUN_ID,
    }
    went = json.loads(as_json(one(seen(state("FAILED", "Failed", "no"), subject=TASK_RUN_ID))))
    assert went.keys() == said.keys()
    assert {name: went[name] for name in ("kind", "level", "message", "state", "state_type")} == {
        "kind": "state",
        "level": "error",
        "message": "no",
        "state": "Failed",
        "state_type": "FAILED",
    }


def test_json_keeps_what_people_write() -> None:
    line = one(seen(StatusFact(at=NOW, template="x", message="größer ✓")))
    assert '"message": "größer ✓"' in as_json(line)


@pytest.mark.parametrize(
    ("kind", "name", "of_flow", "of_task"),
    [
        ("SCHEDULED", "Scheduled", "info", "debug"),
        ("RUNNING", "Running", "info", "debug"),
        ("RUNNING", "Retrying", "info", "info"),
        ("COMPLETED", "Completed", "info", "debug"),
        ("COMPLETED", "Cached", "info", "info"),
        ("FAILED", "Failed", "error", "error"),
        ("FAILED", "TimedOut", "error", "error"),
        ("CRASHED", "Crashed", "error", "error"),
        ("CANCELLED", "Cancelled", "info", "info"),
    ],
)
def test_failures_are_errors_and_the_usual_of_tasks_is_quiet(
    kind: str, name: str, of_flow: str, of_task: str
) -> None:
    fact = state(kind, name)
    assert one(seen(fact)).level == of_flow
    assert one(seen(fact, subject=TASK_RUN_ID)).level == of_task
    assert one(seen(fact, subject=TASK_RUN_ID, kind=TASK)).level == of_task


def test_stages_and_heartbeats_are_no_lines() -> None:
    facts = [StageFact("evaluate", 1, NOW), Heartbeat(NOW)]
    assert list(lines_of(seen(fact) for fact in facts)) == []


def test_a_task_in_no_run_is_named_as_whose_it_is() -> None:
    alone = seen(state("COMPLETED", "Completed", task="greet-0"), subject=TASK_RUN_ID, kind=TASK)
    line = one(alone)
    assert (line.run_id, line.run_name, line.task_run_id) == ("", "", TASK_RUN_ID)
    assert as_text(line, now=NOW, zone=EAST).plain == "00:13:20  train/greet-0  Completed"


@pytest.mark.parametrize(
    ("observation", "text"),
    [
        (seen(STATUS), "00:13:20  train/wise-owl  warning    Scored bert  [evaluate]"),
        (seen(state("RUNNING", "Running")), "00:13:20  train/wise-owl  Running"),
        (
            seen(state("FAILED", "Failed", "a\nb", task="score-0"), subject=TASK_RUN_ID),
            "00:13:20  train/wise-owl  Failed     score-0: a b",
        ),
        (
            seen(state("COMPLETED", "Completed", task="score-0"), subject=TASK_RUN_ID),
            "00:13:20  train/wise-owl  Completed  score-0",
        ),
    ],
)
def test_a_line_for_the_eye(observation: Observation, text: str) -> None:
    assert as_text(one(observation), now=NOW, zone=EAST).plain == text


def test_another_day_is_named() -> None:
    found = as_text(one(seen(STATUS)), now=NOW + DAY, zone=EAST).plain
    assert found.startswith("2023-11-15 00:13:20  train/wise-owl")


@pytest.mark.parametrize(
    ("level", "style"), [("debug", "dim"), ("warning", "yellow"), ("critical", "bold red")]
)
def test_levels_have_their_colours(level: str, style: str) -> None:
    line = one(seen(StatusFact(at=NOW, template="x", message="said", level=level)))
    found = as_text(line, now=NOW, zone=EAST)
    assert [str(s.style) for s in found.spans if "said" in found.plain[s.start : s.end]] == [style]


def test_levels_are_in_their_order() -> None:
    lines = [
        one(seen(StatusFact(at=NOW, template="x", message="x", level=level)))
        for level in ("debug", "info", "warning", "error", "critical")
    ]
    assert [is_at_least(line, "warning") for line in lines] == [False, False, True, True, True]
