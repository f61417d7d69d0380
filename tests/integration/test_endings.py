"""However a flow's process ends, we do no harm and lose nothing that was finished."""

from __future__ import annotations

import signal

import pytest

from tests.conftest import run_flow
from tests.support.broken import hanging_endpoint, refusing_endpoint
from tests.support.receiver import Received, attributes_of

pytestmark = pytest.mark.server


@pytest.mark.parametrize("endpoint", [hanging_endpoint, refusing_endpoint])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.fault(31)
def test_a_broken_endpoint_delays_the_exit_by_two_seconds_at_most(
    flow_env: dict[str, str], endpoint: object, protocol: str
) -> None:
    with endpoint() as address:  # type: ignore[operator]  # a context manager
        broken = {
            **flow_env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        done = run_flow("timed_exit.py", env=broken)
    told = _told(done.stdout)
    assert told["result"] == "42"
    assert float(told["shutdown_seconds"]) <= 2.0 + 0.5  # the bound, and a slow machine's slack
    assert float(told["slowest_status_ms"]) < 1000


@pytest.mark.fault(2)
def test_status_never_waits_for_a_hanging_endpoint(flow_env: dict[str, str]) -> None:
    with hanging_endpoint() as address:
        hanging = {**flow_env, "OTEL_EXPORTER_OTLP_ENDPOINT": address}
        told = _told(run_flow("timed_exit.py", env=hanging).stdout)
    healthy = _told(run_flow("timed_exit.py", env=flow_env).stdout)
    # A call that waited even once for the endpoint would be a thousand times slower.
    assert float(told["median_status_us"]) < 20 * float(healthy["median_status_us"])


def test_the_flows_own_exception_passes_unchanged(
    otlp_env: dict[str, str], received: Received
) -> None:
    done = run_flow("endings.py", "raising", env=otlp_env)
    assert "caught OwnError as it was raised None None" in done.stdout
    spans = received.wait_for_spans("RUN raising", "second")
    for span in (spans["second"], spans["RUN raising"]):
        attributes = attributes_of(span.attributes)
        assert (span.status.code, attributes["cicd.pipeline.result"], attributes["error.type"]) == (
            2,
            "failure",
            "__main__.OwnError",
        )
        (exception,) = [event for event in span.events if event.name == "exception"]
        assert attributes_of(exception.attributes)["exception.message"] == "as it was raised"


def test_sigterm_loses_no_finished_span(otlp_env: dict[str, str], received: Received) -> None:
    done = run_flow("endings.py", "terminated", env=otlp_env, check=False)
    assert done.returncode == -signal.SIGTERM
    spans = received.wait_for_spans("RUN terminated", "work", "first")
    attributes = attributes_of(spans["RUN terminated"].attributes)
    assert (spans["RUN terminated"].status.code, attributes["cicd.pipeline.result"]) == (2, "error")
    assert received.wait_for_log("About to be terminated").trace_id == spans["work"].trace_id


@pytest.mark.fault(29)
def test_a_forked_child_speaks_for_its_run_and_doubles_nothing(
    otlp_env: dict[str, str], received: Received
) -> None:
    run_flow("endings.py", "forking", env=otlp_env)
    spans = received.wait_for_spans("RUN forking", "parent", "STATUS")
    names = sorted(span.name for span in received.spans)
    assert names == ["RUN forking", "STATUS", "parent"]
    assert spans["STATUS"].parent_span_id == spans["parent"].span_id
    assert [event.name for event in spans["STATUS"].events] == ["In the child"]
    assert [event.name for event in spans["parent"].events] == ["In the parent"]


def test_a_long_run_keeps_its_first_last_and_error_statuses(
    otlp_env: dict[str, str], received: Received
) -> None:
    run_flow("endings.py", "good", env=otlp_env)
    flow_run = received.wait_for_spans("RUN good")["RUN good"]
    said = [attributes_of(event.attributes).get("number") for event in flow_run.events]
    numbers = [number for number in said if number is not None]
    assert (numbers[0], numbers[-1]) == (0, 199)
    dropped = attributes_of(flow_run.attributes)["prefect_status.events.dropped"]
    assert len(numbers) + dropped == 200
    assert len(flow_run.events) <= 128


def _told(output: str) -> dict[str, str]:
    return dict(line.split("=") for line in output.splitlines() if "=" in line)
