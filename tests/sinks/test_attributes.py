"""The attributes of records, under the names of the conventions."""

from __future__ import annotations

import pytest

from prefect_otel_status.model import Run
from prefect_otel_status.sinks import attributes
from tests.support.records import (
    FLOW_RUN_ID,
    TASK_RUN_ID,
    flow_run,
    gate_result,
    log_line,
    status,
    task_run,
    transition,
)

OF_FLOW_RUN = {"cicd.pipeline.name": "train", "cicd.pipeline.run.id": FLOW_RUN_ID}
OF_TASK_RUN = {
    **OF_FLOW_RUN,
    "cicd.pipeline.task.name": "score",
    "cicd.pipeline.task.run.id": TASK_RUN_ID,
}
OF_STATE = {
    "prefect.state.type": "COMPLETED",
    "prefect.state.name": "Completed",
    "prefect.state.id": "11111111-2222-3333-4444-555555555555",
    "prefect.state.message": "",
    "prefect_status.attempt": 1,
}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (None, {}),
        (Run("flow", "x"), {}),
        (flow_run(), OF_FLOW_RUN),
        (task_run(), OF_TASK_RUN),
        (
            task_run(flow_run_id=None, flow_name=""),
            {"cicd.pipeline.task.name": "score", "cicd.pipeline.task.run.id": TASK_RUN_ID},
        ),
    ],
)
def test_a_run_is_identified_by_its_flow_its_task_and_their_ids(
    run: Run | None, expected: dict[str, str]
) -> None:
    assert attributes.of_run(run) == expected


def test_a_status_says_all_that_it_was_given() -> None:
    said = status(
        "Scored {model}",
        message="Scored bert",
        stage="score",
        level="warning",
        progress=0.0,
        attributes={"model": "bert", "sizes": (1, 2)},
        flags=("missing_field", "long_message"),
        sequence=7,
        attempt=2,
    )
    assert attributes.of_status(said) == {
        "model": "bert",
        "sizes": (1, 2),
        "prefect_status.message": "Scored bert",
        "prefect_status.template": "Scored {model}",
        "prefect_status.level": "warning",
        "prefect_status.stage": "score",
        "prefect_status.progress": 0.0,
        "prefect_status.sequence": 7,
        "prefect_status.attempt": 2,
        "prefect_status.flags": ("missing_field", "long_message"),
    }


def test_a_bare_status_says_only_what_there_is() -> None:
    assert attributes.of_status(status("a", sequence=0, stage="")) == {
        "prefect_status.message": "a",
        "prefect_status.template": "a",
        "prefect_status.level": "info",
    }


def test_our_own_names_stand_over_given_ones() -> None:
    said = status("a", sequence=0, attributes={"prefect_status.message": "mine"})
    assert attributes.of_status(said)["prefect_status.message"] == "a"


def test_a_transition_says_the_state() -> None:
    assert attributes.of_transition(transition()) == OF_STATE


@pytest.mark.parametrize(
    ("run", "name"),
    [(flow_run(), "cicd.pipeline.result"), (task_run(), "cicd.pipeline.task.run.result")],
)
def test_a_final_transition_says_the_result_and_the_error(run: Run, name: str) -> None:
    ended = transition(run=run, message="boom", result="failure", error_type="ValueError")
    assert attributes.of_transition(ended) == {
        **OF_STATE,
        "prefect.state.message": "boom",
        name: "failure",
        "error.type": "ValueError",
    }


def test_an_evaluation_is_said_in_the_words_of_the_conventions() -> None:
    assert attributes.of_evaluation(gate_result(passed=False)) == {
        "gen_ai.evaluation.name": "accuracy",
        "gen_ai.evaluation.score.value": 0.93,
        "gen_ai.evaluation.score.label": "fail",
    }


def test_a_log_record_says_the_bound_values_the_record_and_the_run() -> None:
    bound = {"model.name": "bert", "cicd.pipeline.name": "mine", "prefect_status.level": "mine"}
    said = status("a", bound=bound)
    assert attributes.of_record(said) == {
        "model.name": "bert",
        **attributes.of_status(said),
        **OF_FLOW_RUN,
    }
    moved = transition(bound=bound)
    assert attributes.of_record(moved) == {**bound, **OF_FLOW_RUN, **OF_STATE}
    decided = gate_result(bound=bound)
    assert attributes.of_record(decided) == {
        **bound,
        **OF_FLOW_RUN,
        **attributes.of_evaluation(decided),
    }


def test_a_log_line_says_its_own_attributes_and_the_run() -> None:
    line = log_line(attributes={"code.line.number": 7}, run=task_run())
    assert attributes.of_record(line) == {"code.line.number": 7, **OF_TASK_RUN}
