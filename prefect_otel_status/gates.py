"""`gate`: an evaluation gate, whose decision is a status, a counter and a score."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from prefect_otel_status import runtime as runtime_module
from prefect_otel_status import signals
from prefect_otel_status.messages import say
from prefect_otel_status.model import GateResult
from prefect_otel_status.runtime import Runtime

PASSED = "Gate {gate} passed: {score} against {threshold}"
BAD_SCORE = "bad_score"
FAILED = "Gate {gate} failed: {score} against {threshold}"


def gate(
    name: str,
    /,
    *,
    score: float,
    threshold: float,
    higher_is_better: bool = True,
    **attributes: Any,
) -> bool:
    """Decide whether SCORE meets THRESHOLD, and say so: status, counter, score gauge.

    Returns the decision; a score equal to the threshold passes. With
    `higher_is_better=False` lower scores pass. A score that cannot be judged
    (None, NaN) does not pass, and is flagged. Where `gen_ai.*` attributes are
    bound, the log event `gen_ai.evaluation.result` is emitted too. Never
    raises; telemetry that fails does not change the decision.
    """
    passed, flags = _judge(score, threshold, higher_is_better)
    runtime = runtime_module.get()
    if runtime.enabled:
        judged = _Judged(name, _number(score), _number(threshold), passed)
        runtime.guard("gate", lambda: _record(runtime, judged, attributes, flags))
    return passed


class _Judged(NamedTuple):
    name: str
    score: float
    threshold: float
    passed: bool


def _judge(score: Any, threshold: Any, higher_is_better: bool) -> tuple[bool, tuple[str, ...]]:
    try:
        passed = bool(score >= threshold if higher_is_better else score <= threshold)
        is_number = bool(score == score and threshold == threshold)
    except Exception:
        return False, (BAD_SCORE,)
    return passed, () if is_number else (BAD_SCORE,)


def _number(value: Any) -> float:
    try:
        return float(value)
    except Exception:
        return math.nan


def _record(
    runtime: Runtime, judged: _Judged, attributes: dict[str, Any], flags: tuple[str, ...]
) -> None:
    said = say(
        runtime,
        PASSED if judged.passed else FAILED,
        _Named(judged, attributes),
        level="info" if judged.passed else "warning",
        origin="gate",
        flags=flags,
    )
    result = GateResult(
        gate=judged.name,
        score=judged.score,
        threshold=judged.threshold,
        passed=judged.passed,
        timestamp=said.timestamp,
        run=said.run,
        bound={**said.bound, **attributes},
        trace_id=said.trace_id,
        span_id=said.span_id,
        sampled=said.sampled,
    )
    runtime.put(result)


class _Named(dict[str, Any]):
    """The gate's attributes under our names, which fill the template by their short ones."""

    def __init__(self, judged: _Judged, attributes: dict[str, Any]) -> None:
        super().__init__(attributes)
        self[signals.GATE.name] = judged.name
        self[signals.GATE_SCORE.name] = judged.score
        self[signals.GATE_THRESHOLD.name] = judged.threshold
        self[signals.DECISION.name] = "pass" if judged.passed else "fail"
        self._fields = {"gate": judged.name, "score": judged.score, "threshold": judged.threshold}

    def __getitem__(self, name: str) -> Any:
        return self._fields[name] if name in self._fields else super().__getitem__(name)
