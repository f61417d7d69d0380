"""The pytest plugin: what it captures, and the whole sentence of each assertion that fails."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task

from prefect_otel_status import gate, stage, status
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.settings import Settings
from prefect_otel_status.sinks.base import Sink
from prefect_otel_status.testing import CaptureSink, StatusCapture
from tests.support.records import flow_run, task_run, transition
from tests.support.telling import Told

LISTING = """\
Said was:
  info     Scored bert   [Scored {model}]
  error    Rolled back   [Rolled back]"""


@pytest.fixture
def spoken(told: Told) -> StatusCapture:
    """What is captured of two statuses and a stage."""
    with stage("evaluate"):
        status("Scored {model}", model="bert", event="scored")
    status("Rolled back", level="error")
    return StatusCapture(told.runtime, told.sink)


def refusal(assertion: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The words with which ASSERTION fails."""
    with pytest.raises(AssertionError) as error:
        assertion(*arguments, **options)
    return str(error.value)


# --- what is captured ---------------------------------------------------------


def test_everything_is_captured_in_order(spoken: StatusCapture) -> None:
    assert spoken.messages == ["Scored bert", "Rolled back"]
    assert spoken.templates == ["Scored {model}", "Rolled back"]
    assert [said.level for said in spoken.statuses] == ["info", "error"]
    assert [ended.stage for ended in spoken.stages] == ["evaluate"]


def test_it_can_forget(spoken: StatusCapture) -> None:
    spoken.clear()
    assert spoken.messages == []
    status("anew")
    assert spoken.messages == ["anew"]


def test_the_sink_is_a_sink_that_a_child_begins_anew() -> None:
    sink = CaptureSink()
    assert isinstance(sink, Sink)
    sink.records.append("of the parent")
    sink.flush()
    sink.after_fork()
    assert (sink.records, sink.tick(0)) == ([], None)


# --- assertions ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Scored {model}", {}),
        ("Scored bert", {}),
        ("scored", {"stage": "evaluate", "level": "info", "model": "bert", "times": 1}),
        ("Rolled back", {"level": "error"}),
    ],
)
def test_what_was_said_is_found(spoken: StatusCapture, text: str, options: dict[str, Any]) -> None:
    assert spoken.assert_said(text, **options) in spoken.statuses


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Scored", {}, "Expected 'Scored' to be said."),
        ("scored", {"level": "error"}, "Expected 'scored' with level='error' to be said."),
        (
            "scored",
            {"stage": "load", "model": "bert"},
            "Expected 'scored' with stage='load', model='bert' to be said.",
        ),
        ("scored", {"model": "gpt"}, "Expected 'scored' with model='gpt' to be said."),
        ("scored", {"times": 2}, "Expected 'scored' to be said 2 times, but 1."),
    ],
)
def test_what_was_not_said_is_told_with_all_that_was(
    spoken: StatusCapture, text: str, options: dict[str, Any], expected: str
) -> None:
    assert refusal(spoken.assert_said, text, **options) == f"{expected}\n{LISTING}"


def test_where_nothing_was_said_it_says_so(told: Told) -> None:
    capture = StatusCapture(told.runtime, told.sink)
    assert refusal(capture.assert_said, "a") == "Expected 'a' to be said.\nSaid was:\n  nothing"


def test_a_value_is_compared_as_it_was_given(told: Told) -> None:
    status("listed", items=["a", "b"])
    StatusCapture(told.runtime, told.sink).assert_said("listed", items=["a", "b"])


def test_what_was_never_said_is_asserted(spoken: StatusCapture) -> None:
    spoken.assert_never_said("Scored")
    assert refusal(spoken.assert_never_said, "scored") == (
        f"Expected 'scored' never to be said.\n{LISTING}"
    )


def test_an_order_is_asserted(spoken: StatusCapture) -> None:
    spoken.assert_said_in_order()
    spoken.assert_said_in_order("scored", "Rolled back")
    assert refusal(spoken.assert_said_in_order, "Rolled back", "scored") == (
        f"Expected 'Rolled back' → 'scored'; 'scored' is missing there.\n{LISTING}"
    )


def test_a_gates_latest_decision_is_asserted(told: Told) -> None:
    capture = StatusCapture(told.runtime, told.sink)
    assert refusal(capture.assert_gate, "accuracy", passed=True) == (
        "Expected the gate 'accuracy' to pass. Decided: none."
    )
    gate("accuracy", score=0.5, threshold=0.9)
    gate("bias", score=0.5, threshold=0.1)
    assert capture.assert_gate("accuracy", passed=False) == capture.gates[0]
    assert refusal(capture.assert_gate, "bias", passed=False) == (
        "Expected the gate 'bias' to fail. Decided: accuracy: fail, bias: pass."
    )


def test_the_states_of_a_flow_or_task_are_asserted(told: Told) -> None:
    capture = StatusCapture(told.runtime, told.sink)
    told.runtime.put(transition("RUNNING", run=flow_run()))
    told.runtime.put(transition("RUNNING", run=task_run()))
    told.runtime.put(transition("COMPLETED", run=flow_run()))
    assert len(capture.transitions) == 3
    capture.assert_states("train", "Running", "Completed")
    capture.assert_states("score", "Running")
    assert refusal(capture.assert_states, "score", "Failed") == (
        "Expected 'score' to go through ['Failed'], it went through ['Running']."
    )


# --- the fixture --------------------------------------------------------------


def test_outside_of_flows_everything_is_captured(status_capture: StatusCapture) -> None:
    status("said")
    status_capture.assert_said("said")


def test_flows_made_during_the_test_are_told_about(status_capture: StatusCapture) -> None:
    @flow
    def made() -> None:
        """A flow made now."""

    assert len(made.on_running_hooks) == 1


def test_the_runtime_before_is_put_back(told: Told, request: pytest.FixtureRequest) -> None:
    captured = request.getfixturevalue("status_capture")
    status("captured")
    assert captured.messages == ["captured"]
    assert runtime_module.current() is not told.runtime
    assert told.messages == []


@pytest.mark.server
@pytest.mark.usefixtures("prefect_here")
def test_a_flows_failure_is_asserted_as_the_docs_show(status_capture: StatusCapture) -> None:
    @task
    def evaluate(accuracy: float) -> float:
        status("Scored {model}: {accuracy:.1%}", model="bert", accuracy=accuracy)
        return accuracy

    @flow
    def deploy(accuracy: float) -> None:
        with stage("evaluate"):
            score = evaluate(accuracy)
        if not gate("accuracy", score=score, threshold=0.9):
            status("Rolled back to the previous version", level="error")
            raise ValueError("rolled back")

    with pytest.raises(ValueError, match="rolled back"):
        deploy(0.5)
    status_capture.assert_gate("accuracy", passed=False)
    status_capture.assert_said("Rolled back to the previous version", level="error", times=1)
    status_capture.assert_said_in_order(
        "Scored {model}: {accuracy:.1%}", "Rolled back to the previous version"
    )
    status_capture.assert_states("deploy", "Running", "Failed")
    status_capture.assert_states("evaluate", "Running", "Completed")


IN_A_SUITE = """
    import json, pathlib
    from opentelemetry import _logs, metrics, trace
    from prefect_otel_status import stage, status

    def test_it(status_capture):
        with stage("load"):
            status("said")
        assert status_capture.messages == ["said"]
        found = trace.get_tracer_provider(), metrics.get_meter_provider()
        names = [type(provider).__name__ for provider in (*found, _logs.get_logger_provider())]
        pathlib.Path("found.json").write_text(json.dumps(names))
"""


def test_in_another_suite_it_is_there_and_makes_nothing_global(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(textwrap.dedent(IN_A_SUITE))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "found.json").read_text()) == [
        "ProxyTracerProvider",
        "_ProxyMeterProvider",
        "ProxyLoggerProvider",
    ]


def test_the_settings_of_the_environment_hold(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("PREFECT_OTEL_STATUS_ENVIRONMENT", "staging")
    request.getfixturevalue("status_capture")
    assert runtime_module.get().settings == Settings(environment="staging")
