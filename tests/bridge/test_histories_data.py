"""The recorded histories are whole, and are of what their scenarios say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.recording.scenarios import SCENARIOS
from tests.support.histories import FOLDER, History, load, names

MOST = 3_000_000
MACHINE = re.compile(r"(?<!/project)/(work|tmp|root|home|usr|opt|Users)/")

every_history = pytest.mark.parametrize("history", [load(name) for name in names()], ids=names())


def test_every_scenario_is_recorded_in_its_variants() -> None:
    wanted = [f"{one.name}.{variant}" for one in SCENARIOS.values() for variant in one.variants]
    assert names() == sorted(wanted)


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MOST


@every_history
def test_runs_ended_as_the_scenario_says(history: History) -> None:
    assert _final_states(history) == SCENARIOS[history.scenario].states == history.truth["states"]


@every_history
def test_every_event_is_there_once_and_in_order(history: History) -> None:
    ids = [event["id"] for event in history.events]
    assert len(set(ids)) == len(ids)
    times = [event["occurred"] for event in history.events]
    assert times == sorted(times)


@every_history
def test_every_state_of_a_flow_run_is_an_event(history: History) -> None:
    ids = {event["id"] for event in history.events}
    states = [state for found in history.flow_run_states.values() for state in found]
    assert {state["id"] for state in states} <= ids


@every_history
def test_every_run_has_its_states(history: History) -> None:
    assert set(history.flow_run_states) == {run["id"] for run in history.flow_runs}
    assert set(history.task_run_states) == {run["id"] for run in history.task_runs}


@every_history
def test_nothing_of_the_machine_is_in_it(history: History) -> None:
    assert [text for text in _texts(vars(history)) if MACHINE.search(text)] == []


@every_history
def test_only_our_code_says_something(history: History) -> None:
    said = [
        status["template"]
        for event in history.events
        for status in event["payload"].get("statuses", ())
    ]
    expected = set(history.truth["said"]) if history.variant == "ours" else set()
    assert expected <= set(said) if expected else said == []


@every_history
def test_only_telemetry_leaves_a_traceparent(history: History) -> None:
    runs = [*history.flow_runs, *history.task_runs]
    labelled = ["__OTEL_TRACEPARENT" in (run["labels"] or {}) for run in runs]
    assert any(labelled) == (history.variant != "plain")


def _final_states(history: History) -> dict[str, list[str]]:
    flow_names = {flow["id"]: flow["name"] for flow in history.flows}
    found: dict[str, list[str]] = {}
    for run in history.flow_runs:
        found.setdefault(flow_names[run["flow_id"]], []).append(run["state_name"])
    for run in history.task_runs:
        if not run["state"]["state_details"]["child_flow_run_id"]:
            name = run["task_key"].rpartition("-")[0]
            found.setdefault(name, []).append(run["state_name"])
    return {name: sorted(states) for name, states in found.items()}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.items() for text in _texts(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return []
