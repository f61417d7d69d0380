"""A status belongs to the run that says it, wherever in that run it is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conftest import run_flow
from tests.support.receiver import Received, attributes_of, otlp_receiver
from tests.support.server import environment, wait_for

pytestmark = pytest.mark.server

SPAN_OF = {
    "in the flow": "RUN contexts",
    "in a task": "in_a_task",
    "in an async task": "in_an_async_task",
    "in a generator": "in_a_generator",
    "in a thread": "in_a_thread",
    "in a thread pool": "in_a_thread_pool",
    "in to_thread": "in_to_thread",
    "mapped {number}": "mapped",
    "submitted": "submitted",
    "in an inner task": "inner_task",
    "in the outer task": "outer_task",
    "in nested stages": "inner",
    "after the stages": "in_nested_stages",
    "in a decorated stage": "decorated",
    "in a subflow": "RUN subflow",
    "in an async subflow": "async stage",
    "unbound again": "RUN contexts",
}


@pytest.fixture(scope="module")
def spoken(
    prefect_api: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Received]:
    """What came of tests/flows/contexts.py."""
    with otlp_receiver() as received:
        env = environment(
            prefect_home,
            PREFECT_API_URL=prefect_api,
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            PYTHONPATH=str(Path(__file__).parents[2]),
        )
        run_flow("contexts.py", env=env)
        received.wait_for_spans("RUN contexts")
        received.wait_for_metric("prefect_status.messages")
        received.wait_for_log("outside a run")
        yield received


@pytest.mark.parametrize("template", SPAN_OF)
def test_a_status_is_on_the_span_of_its_run(spoken: Received, template: str) -> None:
    holders = {
        span.name for span in spoken.spans if template in [event.name for event in span.events]
    }
    assert holders == {SPAN_OF[template]}


@pytest.mark.parametrize("template", SPAN_OF)
def test_a_status_is_a_log_event_of_the_same_span(spoken: Received, template: str) -> None:
    holder = next(s for s in spoken.spans if template in [event.name for event in s.events])
    assert spoken.wait_for_log(template).trace_id == holder.trace_id
    names = {
        span.name
        for span in spoken.spans
        for log in spoken.logs
        if log.event_name == template and log.span_id == span.span_id
    }
    assert names == {SPAN_OF[template]}


@pytest.mark.fault(29)
def test_all_is_one_trace_with_no_missing_parent(spoken: Received) -> None:
    ids = {span.span_id for span in spoken.spans}
    roots = [span.name for span in spoken.spans if not span.parent_span_id]
    orphans = [s.name for s in spoken.spans if s.parent_span_id and s.parent_span_id not in ids]
    assert (roots, orphans) == (["RUN contexts"], [])
    assert len({span.trace_id for span in spoken.spans}) == 1


@pytest.mark.fault(29)
def test_parents_are_the_callers(spoken: Received) -> None:
    names = {span.span_id: span.name for span in spoken.spans}
    found = {(span.name, names.get(span.parent_span_id, "")) for span in spoken.spans}
    assert {
        ("inner_task", "outer_task"),
        ("outer_task", "RUN contexts"),
        ("RUN subflow", "RUN contexts"),
        ("in_a_task", "RUN subflow"),
        ("inner", "outer"),
        ("outer", "in_nested_stages"),
        ("decorated", "in_a_decorated_stage"),
        ("async stage", "RUN async-subflow"),
    } <= found


def test_what_is_bound_reaches_everything_below_and_ends_with_its_block(spoken: Received) -> None:
    def models(template: str) -> set[str | None]:
        logs = [log for log in spoken.logs if log.event_name == template]
        return {attributes_of(log.attributes).get("model.name") for log in logs}

    inside = [template for template in SPAN_OF if template != "unbound again"]
    assert {template: models(template) for template in inside} == {t: {"bert"} for t in inside}
    assert models("unbound again") == {None}


def test_outside_a_run_a_status_is_still_logged_and_counted(spoken: Received) -> None:
    event = spoken.wait_for_log("outside a run")
    assert (event.trace_id, attributes_of(event.attributes)) == (
        b"",
        {
            "prefect_status.message": "outside a run",
            "prefect_status.template": "outside a run",
            "prefect_status.level": "info",
        },
    )
    points = spoken.wait_for_metric("prefect_status.messages").sum.data_points
    counts = Counter[str]()
    for point in points:
        counts[attributes_of(point.attributes)["prefect_status.template"]] += point.as_int
    assert counts == {**dict.fromkeys(SPAN_OF, 1), "in a generator": 2, "mapped {number}": 2,
                      "in a task": 2, "outside a run": 1}  # fmt: skip


@pytest.mark.parametrize(
    "script", ["process_pool.py", pytest.param("on_dask.py", marks=pytest.mark.long)]
)
@pytest.mark.fault(29)
def test_a_task_in_another_process_speaks_below_its_flow(
    script: str, otlp_env: dict[str, str], received: Received
) -> None:
    run_flow(script, env=otlp_env)
    name = f"RUN {script.removesuffix('.py').replace('_', '-')}"
    flow_run = received.wait_for_spans(name)[name]
    wait_for(lambda: len([s for s in received.spans if s.name == "elsewhere"]) == 2)
    tasks = [span for span in received.spans if span.name == "elsewhere"]
    said = sorted(values["number"] for task in tasks for values in _said(task))
    pids = {values["pid"] for task in tasks for values in _said(task)}
    assert said == [1, 2]
    assert {task.parent_span_id for task in tasks} == {flow_run.span_id}
    assert {task.trace_id for task in tasks} == {flow_run.trace_id}
    assert {attributes_of(task.attributes)["model.name"] for task in tasks} == {"bert"}
    assert pids
    counted = received.wait_for_metric("prefect_status.messages").sum.data_points
    environments = {attributes_of(p.attributes)["deployment.environment.name"] for p in counted}
    assert environments == {"prod"}


def _said(span: Span) -> list[dict[str, int]]:
    events = [attributes_of(event.attributes) for event in span.events]
    return [values for values in events if "prefect_status.message" in values]
