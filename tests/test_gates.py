"""`gate`: the decision, and how it is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from prefect import flow

from prefect_otel_status import bind, gate, signals
from prefect_otel_status.model import GateResult, Status
from prefect_otel_status.sinks.log import LogSink
from tests.support.hostile import VALUES, RaisingText
from tests.support.records import NOW, envelopes, flow_run
from tests.support.telling import Told

Tell = Callable[..., Told]
NAN = float("nan")
HOSTILE = st.sampled_from(sorted(VALUES.keys() - {"ten megabytes"})).map(lambda name: VALUES[name])


@flow
def train() -> None:
    """The flow of these tests."""


class Uncomparable:
    """Raises when it is compared."""

    def __ge__(self, other: object) -> bool:
        raise RuntimeError("no order")

    __le__ = __ge__


# --- the decision -------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "threshold", "higher", "passed", "flags"),
    [
        (0.93, 0.9, True, True, ()),
        (0.9, 0.9, True, True, ()),
        (0.89, 0.9, True, False, ()),
        (0.1, 0.2, False, True, ()),
        (0.2, 0.2, False, True, ()),
        (0.3, 0.2, False, False, ()),
        (1, 0, True, True, ()),
        (True, False, True, True, ()),
        (Decimal("0.95"), Decimal("0.9"), True, True, ()),
        (math.inf, 0.9, True, True, ()),
        (-math.inf, 0.9, True, False, ()),
        (2**70, 0.9, True, True, ()),
        (numpy.float32(0.95), 0.9, True, True, ()),
        (numpy.array(0.95), 0.9, True, True, ()),
        (numpy.array([0.95, 0.2]), 0.9, True, False, ("bad_score",)),
        (numpy.float64("nan"), 0.9, True, False, ("bad_score",)),
        (None, 0.9, True, False, ("bad_score",)),
        (0.9, None, False, False, ("bad_score",)),
        (NAN, 0.9, True, False, ("bad_score",)),
        (0.9, NAN, True, False, ("bad_score",)),
        (NAN, 0.9, False, False, ("bad_score",)),
        ("0.95", 0.9, True, False, ("bad_score",)),
        ([], {}, True, False, ("bad_score",)),
        (Uncomparable(), 0.9, True, False, ("bad_score",)),
        (Uncomparable(), 0.9, False, False, ("bad_score",)),
        (RaisingText(), 0.9, True, False, ("bad_score",)),
    ],
)
def test_a_score_is_judged(
    told: Told, score: Any, threshold: Any, higher: bool, passed: bool, flags: tuple[str, ...]
) -> None:
    found = gate("accuracy", score=score, threshold=threshold, higher_is_better=higher)
    assert found is passed
    assert [said.flags for said in told.statuses] == [flags]
    assert [decided.passed for decided in told.gates] == [passed]
    assert told.tally(signals.PROCESS_FAILURES) == {}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=HOSTILE, score=HOSTILE, threshold=HOSTILE, higher=st.booleans(), value=HOSTILE)
def test_whatever_is_given_there_is_one_decision(
    told: Told, name: Any, score: Any, threshold: Any, higher: bool, value: Any
) -> None:
    told.of(object)
    told.sink.records.clear()
    passed = gate(name, score=score, threshold=threshold, higher_is_better=higher, value=value)
    assert [decided.passed for decided in told.gates] == [passed]
    assert len(told.statuses) == 1


def test_disabled_it_still_decides(tell: Tell) -> None:
    told = tell(enabled=False)
    assert gate("accuracy", score=0.93, threshold=0.9)
    assert not gate("accuracy", score=0.8, threshold=0.9)
    assert told.of(object) == []


def test_telemetry_that_fails_does_not_change_the_decision(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr("prefect_otel_status.gates.say", refuse)
    assert gate("accuracy", score=0.93, threshold=0.9)
    assert told.tally(signals.PROCESS_FAILURES) == {"gate": 1}


# --- how it is told -----------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "passed", "template", "message", "level", "decision"),
    [
        (
            0.93,
            True,
            "Gate {gate} passed: {score} against {threshold}",
            "Gate accuracy passed: 0.93 against 0.9",
            "info",
            "pass",
        ),
        (
            0.5,
            False,
            "Gate {gate} failed: {score} against {threshold}",
            "Gate accuracy failed: 0.5 against 0.9",
            "warning",
            "fail",
        ),
    ],
)
def test_a_decision_is_told_whole(
    told: Told,
    score: float,
    passed: bool,
    template: str,
    message: str,
    level: str,
    decision: str,
) -> None:
    with told.run_of(train), bind(environment="prod"):
        gate("accuracy", score=score, threshold=0.9, dataset="digits")
    place = told.spans["RUN train"].context
    where = {"trace_id": place.trace_id, "span_id": place.span_id, "sampled": True}
    environment = {"deployment.environment.name": "prod"}
    assert told.statuses == [
        Status(
            template,
            message,
            level=level,
            attributes={
                "dataset": "digits",
                "prefect_status.gate.name": "accuracy",
                "prefect_status.gate.score": score,
                "prefect_status.gate.threshold": 0.9,
                "prefect_status.gate.decision": decision,
            },
            bound=environment,
            run=flow_run(),
            attempt=1,
            sequence=1,
            timestamp=NOW,
            origin="gate",
            **where,
        )
    ]
    assert told.gates == [
        GateResult(
            "accuracy",
            score,
            0.9,
            passed,
            NOW,
            flow_run(),
            {**environment, "dataset": "digits"},
            **where,
        )
    ]


def test_a_score_that_is_no_number_is_told_as_such(told: Told) -> None:
    gate("accuracy", score=None, threshold=0.9)  # type: ignore[arg-type]
    (decided,) = told.gates
    assert math.isnan(decided.score)
    assert told.messages == ["Gate accuracy failed: nan against 0.9"]


@pytest.mark.parametrize("bound", [{}, {"gen_ai.request.model": "gpt"}])
def test_an_evaluation_of_generated_text_is_an_event_of_its_own(
    told: Told, bound: dict[str, str]
) -> None:
    with bind(**bound):
        gate("relevance", score=0.8, threshold=0.5)
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    sink = LogSink(lambda: provider.get_logger("test"))
    sink.accept(envelopes(*told.gates))
    events = [
        (found.log_record.event_name, dict(found.log_record.attributes or {}))
        for found in exporter.get_finished_logs()
    ]
    evaluation = {
        "gen_ai.request.model": "gpt",
        "gen_ai.evaluation.name": "relevance",
        "gen_ai.evaluation.score.value": 0.8,
        "gen_ai.evaluation.score.label": "pass",
    }
    assert events == ([("gen_ai.evaluation.result", evaluation)] if bound else [])


def test_an_attribute_named_gate_does_not_rename_it(told: Told) -> None:
    gate("accuracy", score=0.93, threshold=0.9, **{"gate": "other"})
    assert told.messages == ["Gate accuracy passed: 0.93 against 0.9"]
