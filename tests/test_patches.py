"""What is put into Prefect, once, and taken out whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import prefect.telemetry.run_telemetry as run_telemetry
import pytest
import wrapt
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prefect import flow
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.telemetry.run_telemetry import RunTelemetry

from prefect_otel_status import bind, patches, signals, wrapping
from prefect_otel_status.spans import RunTracer
from tests.support.telling import Told, a_flow_run


@flow
def train() -> None:
    """The flow of these tests."""


def in_place() -> list[Any]:
    """Everything in Prefect that we may replace."""
    clients = [wrapping._home(client, DEPLOY).__dict__[DEPLOY] for client in CLIENTS]
    return [run_telemetry.get_tracer, RunTelemetry.__dict__["update_run_name"], *clients]


DEPLOY = "create_flow_run_from_deployment"
CLIENTS = (PrefectClient, SyncPrefectClient)


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    patches.undo()
    yield
    patches.undo()


def test_prefect_is_patched_once_and_left_as_it_was(told: Told) -> None:
    before = in_place()
    patches.prepare()
    first = in_place()
    patches.prepare()
    assert in_place() == first
    assert all(new is not old for new, old in zip(first, before, strict=True))
    patches.undo()
    patches.undo()
    assert all(new is old for new, old in zip(in_place(), before, strict=True))


def test_prefect_gets_our_tracer(told: Told) -> None:
    patches.prepare()
    assert isinstance(run_telemetry.get_tracer("prefect", "3"), RunTracer)
    assert isinstance(RunTelemetry()._tracer, RunTracer)


def test_disabled_prefect_gets_its_own_tracer(tell: Any) -> None:
    tell(enabled=False)
    patches.prepare()
    assert not isinstance(run_telemetry.get_tracer("prefect"), RunTracer)


def test_where_ours_fails_prefect_gets_its_own_tracer(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Any:
        raise RuntimeError("no")

    patches.prepare()
    monkeypatch.setattr(told.runtime, "providers", refuse)
    assert not isinstance(run_telemetry.get_tracer("prefect"), RunTracer)
    assert told.tally(signals.PROCESS_FAILURES) == {"tracer": 1}


@pytest.mark.parametrize("positional", [True, False])
def test_a_runs_name_becomes_an_attribute_and_not_the_spans_name(
    told: Told, positional: bool
) -> None:
    patches.prepare()
    telemetry = told.telemetry()
    telemetry._start_span(a_flow_run(), {})
    name = "password=hunter22"
    telemetry.update_run_name(name) if positional else telemetry.update_run_name(name=name)
    telemetry.end_span_on_success()
    assert told.spans["RUN"].attributes["prefect.run.name"] == "password=[redacted]"


def test_a_span_that_is_not_ours_is_renamed_as_prefect_does(told: Told) -> None:
    patches.prepare()
    exporter = InMemorySpanExporter()
    told.provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = RunTelemetry(_tracer=told.provider.get_tracer("plain"), _enabled=True)
    telemetry._start_span(a_flow_run(), {})
    telemetry.update_run_name("renamed")
    telemetry.end_span_on_success()
    assert [span.name for span in exporter.get_finished_spans()] == ["renamed"]


def test_a_deployments_run_is_created_with_what_is_bound(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def create(self: Any, *arguments: Any, **named: Any) -> None:
        given.append((arguments, named))

    monkeypatch.setattr(wrapping._home(SyncPrefectClient, DEPLOY), DEPLOY, create)
    patches.prepare()
    client = SyncPrefectClient.__new__(SyncPrefectClient)
    with bind(model="bert"):
        client.create_flow_run_from_deployment("id")  # type: ignore[arg-type]
    patches.undo()
    labels = {f"{signals.BOUND_LABEL_PREFIX}model.name": "bert"}
    assert given == [(("id",), {"labels": labels})]


def test_another_librarys_wrapper_stays_in_place() -> None:
    class Owner:
        def method(self) -> str:
            return "plain"

    def theirs(wrapped: Any, instance: Any, arguments: Any, named: Any) -> str:
        return f"theirs({wrapped(*arguments, **named)})"

    def ours(wrapped: Any, instance: Any, arguments: Any, named: Any) -> str:
        return f"ours({wrapped(*arguments, **named)})"

    wrapt.wrap_function_wrapper(Owner, "method", theirs)
    wrapping.wrap(Owner, "method", ours)
    assert Owner().method() == "ours(theirs(plain))"
    wrapping.unwrap(Owner, "method")
    assert Owner().method() == "theirs(plain)"
