"""A pytest plugin: what a flow says, in every failure scenario, without a collector.

The fixture `status_capture` is there once the package is installed::

    def test_a_failed_gate_rolls_back(status_capture):
        deploy("bert", accuracy=0.5)
        status_capture.assert_gate("accuracy", passed=False)
        status_capture.assert_said("Rolled back to the previous version", level="error")

Flows run as usual: against `prefect.testing.utilities.prefect_test_harness`,
or a server of yours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from prefect_otel_status.envelope import Envelope
    from prefect_otel_status.model import GateResult, StageEnd, Status, Transition

R = TypeVar("R")
_WAIT = 5.0


class CaptureSink:
    """Keeps every record, in the order in which it was said."""

    name = "capture"

    def __init__(self) -> None:
        self.records: list[Any] = []

    def accept(self, batch: Sequence[Envelope]) -> None:
        self.records.extend(envelope.clean() for envelope in batch)

    def flush(self) -> None:
        """Nothing is held back."""

    def after_fork(self) -> None:
        self.records.clear()

    def tick(self, now: int) -> int | None:
        """Nothing is ever due."""
        return None


class StatusCapture:
    """What was said since the test began. The assertions list all of it when they fail."""

    def __init__(self, runtime: Any, sink: CaptureSink) -> None:
        self._runtime = runtime
        self._sink = sink

    @property
    def statuses(self) -> list[Status]:
        """All status messages, in order."""
        from prefect_otel_status.model import Status

        return self._of(Status)

    @property
    def messages(self) -> list[str]:
        """The text of all status messages, in order."""
        return [status.message for status in self.statuses]

    @property
    def templates(self) -> list[str]:
        """The templates of all status messages, in order."""
        return [status.template for status in self.statuses]

    @property
    def transitions(self) -> list[Transition]:
        """All changes of state, in order."""
        from prefect_otel_status.model import Transition

        return self._of(Transition)

    @property
    def gates(self) -> list[GateResult]:
        """All decisions of gates, in order."""
        from prefect_otel_status.model import GateResult

        return self._of(GateResult)

    @property
    def stages(self) -> list[StageEnd]:
        """All stages that closed, in order."""
        from prefect_otel_status.model import StageEnd

        return self._of(StageEnd)

    def states(self, name: str) -> list[str]:
        """The names of the states that the flow or task NAME went through."""
        return [
            transition.state_name for transition in self.transitions if name == transition.run.title
        ]

    def find(
        self, text: str, *, level: str | None = None, stage: str | None = None, **attributes: Any
    ) -> list[Status]:
        """The statuses whose template, event or message is TEXT, with these attributes."""
        from prefect_otel_status.sanitize import freeze

        wanted = {"level": level, "stage": stage}
        given = {key: freeze(value) for key, value in attributes.items()}
        return [
            status
            for status in self.statuses
            if text in (status.template, status.event, status.message)
            and all(value in (None, getattr(status, key)) for key, value in wanted.items())
            and all(status.attributes.get(key) == value for key, value in given.items())
        ]

    def assert_said(
        self,
        text: str,
        *,
        level: str | None = None,
        stage: str | None = None,
        times: int | None = None,
        **attributes: Any,
    ) -> Status:
        """Fail unless TEXT was said, TIMES times where given; return the last such status."""
        found = self.find(text, level=level, stage=stage, **attributes)
        if len(found) != times if times is not None else not found:
            wanted = {"level": level, "stage": stage, **attributes}
            shown = ", ".join(
                f"{key}={value!r}" for key, value in wanted.items() if value is not None
            )
            expected = f"{text!r}" + (f" with {shown}" if shown else "")
            count = "" if times is None else f" {times} times, but {len(found)}"
            raise AssertionError(f"Expected {expected} to be said{count}.\n{self._listing()}")
        return found[-1] if found else None  # type: ignore[return-value]  # only for times=0

    def assert_never_said(self, text: str) -> None:
        """Fail if TEXT was said, as a template, an event or a message."""
        if self.find(text):
            raise AssertionError(f"Expected {text!r} never to be said.\n{self._listing()}")

    def assert_said_in_order(self, *texts: str) -> None:
        """Fail unless TEXTS were said in this order, whatever was said between them."""
        remaining = iter(self.statuses)
        for text in texts:
            if not any(text in (said.template, said.event, said.message) for said in remaining):
                order = " → ".join(repr(item) for item in texts)
                raise AssertionError(
                    f"Expected {order}; {text!r} is missing there.\n{self._listing()}"
                )

    def assert_gate(self, name: str, *, passed: bool) -> GateResult:
        """Fail unless the latest decision of the gate NAME is PASSED; return it."""
        found = [gate for gate in self.gates if gate.gate == name]
        if not found or found[-1].passed is not passed:
            decided = ", ".join(f"{gate.gate}: {gate.decision}" for gate in self.gates) or "none"
            wanted = "pass" if passed else "fail"
            raise AssertionError(f"Expected the gate {name!r} to {wanted}. Decided: {decided}.")
        return found[-1]

    def assert_states(self, name: str, *states: str) -> None:
        """Fail unless the flow or task NAME went through exactly these states."""
        found = self.states(name)
        if found != list(states):
            raise AssertionError(
                f"Expected {name!r} to go through {list(states)}, it went through {found}."
            )

    def clear(self) -> None:
        """Forget what was said so far."""
        self._of(object)
        self._sink.records.clear()

    def _of(self, kind: type[R]) -> list[R]:
        self._runtime.recorder.flush(_WAIT)
        return [record for record in self._sink.records if isinstance(record, kind)]

    def _listing(self) -> str:
        lines = [f"  {said.level:<8} {said.message}   [{said.template}]" for said in self.statuses]
        return "Said was:\n" + ("\n".join(lines) or "  nothing")


@pytest.fixture
def status_capture() -> Iterator[StatusCapture]:
    """What flows and tasks say during the test: statuses, transitions, gates, stages.

    Nothing leaves the process meanwhile.
    """
    from opentelemetry._logs import NoOpLoggerProvider
    from opentelemetry.metrics import NoOpMeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from prefect_otel_status import instrumentation, patches
    from prefect_otel_status import runtime as runtime_module
    from prefect_otel_status.settings import load

    sink = CaptureSink()
    provider = TracerProvider(shutdown_on_exit=False)
    runtime = runtime_module.Runtime(
        load(),
        tracer_provider=provider,
        meter_provider=NoOpMeterProvider(),
        logger_provider=NoOpLoggerProvider(),
        sinks=[sink],
    )
    previous = runtime_module.current()
    runtime_module.use(runtime)
    instrumentation.instrument()
    try:
        yield StatusCapture(runtime, sink)
    finally:
        instrumentation.uninstrument()
        if previous is not None:
            patches.prepare()
        runtime.recorder.stop(_WAIT)
        runtime_module.use(previous)
