"""Real flows, a real server, a real bridge, a real receiver: each run is drawn once and whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from prefect_otel_status.ids import trace_id_of
from tests.conftest import ROOT, run_flow
from tests.support.bridge import Bridge, bridge
from tests.support.receiver import Received, otlp_receiver
from tests.support.server import environment, wait_for
from tests.support.traces import Drawn, backwards, doubled, lost, of_receiver, runs_of, tree

# Each waits for several real processes, on machines that have other things to do.
pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

RUNS = 4

# Without our code in a flow nobody asks who owns the root, so once is enough.
process_owns = pytest.mark.parametrize("watched", ["process"], indirect=True)
bridge_owns = pytest.mark.parametrize("watched", ["bridge"], indirect=True)

ONE_OURS = """\
RUN tree: success
  RUN below: success
    step: success
  evaluate: success
    step: success ×3
"""

BELOW_THE_BRIDGE = """\
RUN tree: success
  ATTEMPT 1: success
    RUN below: success
      ATTEMPT 1: success
        step: success
    evaluate: success
      step: success ×3
"""

PLAIN = """\
RUN tree: success
  RUN below: success
    step: success
  step: success ×3
"""


@dataclass
class Watched:
    """A bridge that watches the server, and what it and the flows sent."""

    bridge: Bridge
    received: Received
    env: dict[str, str]

    def run(self, variant: str, flow: str, times: int = 1) -> list[str]:
        """Run FLOW of `bridge_tree` until it is settled; the ids of its root runs."""
        ids = self.start(variant, flow, times)
        self.bridge.wait_until_settled(ids)
        return ids

    def start(self, variant: str, flow: str, times: int = 1) -> list[str]:
        env = {**self.env, "BRIDGE_VARIANT": variant}
        done = run_flow("bridge_tree.py", flow, str(times), env=env)
        return done.stdout.split()[-times:]

    def trace_of(self, run_id: str) -> list[Drawn]:
        """The spans in the trace that the id of a run leads to."""
        trace_id = trace_id_of(run_id)
        return [span for span in self.spans() if span.key[0] == trace_id]

    def spans(self) -> list[Drawn]:
        return of_receiver(list(self.received.spans))

    def wait_for_tree(self, run_id: str, expected: str) -> list[Drawn]:
        """The trace of RUN_ID once it is EXPECTED, as a tree."""

        def complete() -> bool:
            return tree(self.trace_of(run_id)) == expected

        try:
            wait_for(complete, what=f"the trace of {run_id}")
        except AssertionError:
            assert tree(self.trace_of(run_id)) == expected
        return self.trace_of(run_id)


def _environment(api: str, home: Path, received: Received, **extra: str) -> dict[str, str]:
    return environment(
        home,
        PREFECT_API_URL=api,
        OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        PYTHONPATH=str(ROOT),
        **extra,
    )


@pytest.fixture(scope="module", params=["process", "bridge"])
def watched(
    request: pytest.FixtureRequest,
    prefect_api: str,
    prefect_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    """A bridge, where the process or the bridge owns the roots."""
    extra = {"PREFECT_OTEL_STATUS_TRACE_ROOT": request.param}
    with otlp_receiver() as received:
        env = _environment(prefect_api, prefect_home, received, **extra)
        with bridge(env, tmp_path_factory.mktemp("watched")) as running:
            yield Watched(running, received, env)


@pytest.fixture(scope="module")
def sampled(
    prefect_api: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A bridge and flows that take one trace in two."""
    extra = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    with otlp_receiver() as received:
        env = _environment(prefect_api, prefect_home, received, **extra)
        with bridge(env, tmp_path_factory.mktemp("sampled")) as running:
            yield Watched(running, received, env)


def _assert_whole(spans: list[Drawn], runs: int) -> None:
    assert (lost(spans), doubled(spans), backwards(spans)) == ([], [], [])
    assert sorted(runs_of(spans).values()) == [1] * runs
    assert all((span.kind == "SERVER") == span.name.startswith("RUN ") for span in spans)


# --- each set-up -----------------------------------------------------------------
def test_flow_processes_alone(otlp_env: dict[str, str], received: Received) -> None:
    done = run_flow("bridge_tree.py", "tree", env=otlp_env)
    run_id = done.stdout.split()[-1]
    received.wait_for_spans("RUN tree")
    spans = of_receiver(list(received.spans))
    assert tree(spans) == ONE_OURS
    assert {span.key[0] for span in spans} == {trace_id_of(run_id)}
    _assert_whole(spans, 2)


@process_owns
def test_a_bridge_and_flows_without_any_code_of_ours(watched: Watched) -> None:
    (run_id,) = watched.run("plain", "tree")
    spans = watched.wait_for_tree(run_id, PLAIN)
    _assert_whole(spans, 2)


def test_a_bridge_beside_flows_with_our_code(watched: Watched) -> None:
    (run_id,) = watched.run("ours", "tree")
    below = watched.env["PREFECT_OTEL_STATUS_TRACE_ROOT"] == "bridge"
    spans = watched.wait_for_tree(run_id, BELOW_THE_BRIDGE if below else ONE_OURS)
    _assert_whole(spans, 2)
    (root,) = [span for span in spans if span.name == "RUN tree"]
    said = [span for span in spans if {"Started", "Ready"} <= set(span.events)]
    assert [span.name for span in said] == ["ATTEMPT 1" if below else "RUN tree"]
    assert root.parent_id == 0


@bridge_owns
def test_a_bridge_beside_flows_of_another_provider(watched: Watched) -> None:
    (run_id,) = watched.run("foreign", "tree")
    of_run = {"prefect.run.id": run_id}
    root = wait_for(
        lambda: next((s for s in watched.spans() if of_run.items() <= s.attributes.items()), None),
        what="the span of the flow's own provider",
    )
    assert root is not None
    spans = [span for span in watched.spans() if span.key[0] == root.key[0]]
    assert len(spans) == 6  # two flow runs, four task runs: each by its process, and only by it
    assert (lost(spans), doubled(spans)) == ([], [])
    assert watched.trace_of(run_id) == []


# --- sampling ----------------------------------------------------------------------
@pytest.mark.parametrize("variant", ["plain", pytest.param("ours", marks=pytest.mark.long)])
@pytest.mark.fault(37)
def test_a_ratio_takes_whole_traces_and_counts_all(sampled: Watched, variant: str) -> None:
    sampled.bridge.wait_ready()
    before = _counted(sampled)
    ids = sampled.run(variant, "small", RUNS)
    bound = TraceIdRatioBased(0.5).bound
    whole = 3  # two flow runs and a task run
    expected = {run_id: whole if trace_id_of(run_id) % 2**64 < bound else 0 for run_id in ids}
    wait_for(lambda: _sizes(sampled, ids) == expected or None, what=f"whole traces: {expected}")
    assert lost(sampled.spans()) == []
    wait_for(lambda: _counted(sampled) - before == RUNS, what="all runs counted")


def _sizes(sampled: Watched, ids: list[str]) -> dict[str, int]:
    return {run_id: len(sampled.trace_of(run_id)) for run_id in ids}


def _counted(sampled: Watched) -> float:
    return sampled.bridge.total(
        "cicd_pipeline_run_duration_seconds_count", cicd_pipeline_name="small"
    )
