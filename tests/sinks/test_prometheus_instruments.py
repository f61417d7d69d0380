"""The metrics in a registry of `prometheus_client`."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics

from prefect_otel_status import signals
from prefect_otel_status.signals import Metric
from prefect_otel_status.sinks.metric import Labels
from prefect_otel_status.sinks.prometheus_instruments import PrometheusInstruments
from tests.support.metrics import counter, gauge, histogram, scrape
from tests.support.records import TRACE_ID

REASON = "prefect_status.reason"


def labels_of(metric: Metric, value: str = "x", **more: str) -> Labels:
    """Every label of METRIC with VALUE, and MORE."""
    return (*((label.name, value) for label in metric.labels), *more.items())


def shown(metric: Metric, value: str = "x", **more: str) -> dict[str, str]:
    """The same, as a scrape shows them."""
    return {**dict.fromkeys(metric.label_names, value), **more}


def test_a_counter_adds_up_by_its_labels() -> None:
    registry, metric = CollectorRegistry(), signals.PROCESS_DROPS
    instruments = PrometheusInstruments(registry)
    for label, amount in (("a", 1), ("b", 2), ("a", 3)):
        instruments.count(metric, ((REASON, label),), amount)
    series = [
        ({"prefect_status_reason": label}, value) for label, value in (("a", 4.0), ("b", 2.0))
    ]
    assert scrape(registry) == counter(metric, *series)


def test_a_gauge_shows_the_latest_value() -> None:
    registry, metric = CollectorRegistry(), signals.PROGRESS_RATIO
    instruments = PrometheusInstruments(registry)
    instruments.set(metric, labels_of(metric), 0.25)
    instruments.set(metric, labels_of(metric), 0.5)
    assert scrape(registry) == gauge(metric, (shown(metric), 0.5))


def test_a_histogram_has_the_declared_bounds() -> None:
    registry, metric = CollectorRegistry(), signals.STAGE_DURATION
    instruments = PrometheusInstruments(registry)
    for seconds in (0.05, 2.0, 100_000.0):
        instruments.observe(metric, labels_of(metric), seconds, None)
    assert scrape(registry) == histogram(metric, (shown(metric), [0.05, 2.0, 100_000.0]))


def test_a_value_of_a_sampled_trace_is_an_exemplar() -> None:
    registry, metric = CollectorRegistry(), signals.STAGE_DURATION
    instruments = PrometheusInstruments(registry)
    instruments.observe(metric, labels_of(metric), 2.0, f"{TRACE_ID:032x}")
    instruments.observe(metric, labels_of(metric), 400.0, None)
    exemplars = [
        line.partition(" # ")[2].rpartition(" ")[0]
        for line in open_metrics(registry).decode().splitlines()
        if " # " in line
    ]
    assert exemplars == [f'{{trace_id="{TRACE_ID:032x}"}} 2.0']


def test_the_same_registry_is_used_by_several_and_another_is_apart() -> None:
    shared, other, metric = CollectorRegistry(), CollectorRegistry(), signals.PROCESS_DROPS
    for registry in (shared, shared, other):
        PrometheusInstruments(registry).count(metric, ((REASON, "a"),), 1)
    series = {"prefect_status_reason": "a"}
    assert scrape(shared) == counter(metric, (series, 2.0))
    assert scrape(other) == counter(metric, (series, 1.0))


@pytest.mark.parametrize(
    ("name", "label"), [("team", "team"), ("my.team-name", "my_team_name"), ("größe", "gr__e")]
)
def test_a_bound_name_becomes_a_label(name: str, label: str) -> None:
    registry, metric = CollectorRegistry(), signals.TASK_RETRIES
    PrometheusInstruments(registry).count(metric, labels_of(metric, **{name: "a"}), 1)
    assert scrape(registry) == counter(metric, (shown(metric, **{label: "a"}), 1.0))


@pytest.mark.parametrize("name", ["1st", "__team", "le"])
def test_a_bound_name_that_prometheus_does_not_allow_stops_no_metric(name: str) -> None:
    registry, metric = CollectorRegistry(), signals.STAGE_DURATION
    PrometheusInstruments(registry).observe(metric, labels_of(metric, **{name: "a"}), 2.0, None)
    (family,) = scrape(registry).values()
    counts = [value for (sample, _), value in family.samples.items() if sample.endswith("_count")]
    assert counts == [1.0]


def test_two_bound_names_that_become_one_label_stop_no_metric() -> None:
    registry, metric = CollectorRegistry(), signals.TASK_RETRIES
    labels = labels_of(metric, **{"my.team": "a", "my_team": "b"})
    PrometheusInstruments(registry).count(metric, labels, 1)
    (family,) = scrape(registry).values()
    assert list(family.samples.values()) == [1.0]


@pytest.mark.parametrize("value", ['"} 1\nfake 1', "back\\slash", "\ufffd", "", "🙂", "a\x00b"])
def test_whatever_a_label_says_the_scrape_can_be_read(value: str) -> None:
    registry, metric = CollectorRegistry(), signals.PROCESS_DROPS
    PrometheusInstruments(registry).count(metric, ((REASON, value),), 1)
    assert scrape(registry) == counter(metric, ({"prefect_status_reason": value}, 1.0))


def test_threads_at_once_make_one_metric() -> None:
    registry, metric = CollectorRegistry(), signals.PROCESS_DROPS
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait(10)
        PrometheusInstruments(registry).count(metric, ((REASON, "a"),), 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert scrape(registry) == counter(metric, ({"prefect_status_reason": "a"}, 8.0))


def test_across_processes_counts_are_summed_and_gauges_show_the_latest(tmp_path: Path) -> None:
    script = """
        import sys
        from prometheus_client import CollectorRegistry
        from prefect_otel_status import signals
        from prefect_otel_status.sinks.prometheus_instruments import PrometheusInstruments
        instruments = PrometheusInstruments(CollectorRegistry())
        instruments.count(signals.PROCESS_DROPS, (("prefect_status.reason", "a"),), 2)
        labels = tuple((label.name, "x") for label in signals.GATE_SCORE_VALUE.labels)
        instruments.set(signals.GATE_SCORE_VALUE, labels, float(sys.argv[1]))
    """
    for value in ("0.25", "0.75"):
        _run(script, value, folder=tmp_path)
    collect = """
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        lines = generate_latest(registry).decode().splitlines()
        shown = [line for line in lines if line[0] != "#"]
        print(sorted(line.split("{")[0] + " " + line.split()[-1] for line in shown))
    """
    assert _run(collect, "", folder=tmp_path) == (
        "['prefect_status_gate_score 0.75', 'prefect_status_process_drops_total 4.0']"
    )


def _run(script: str, argument: str, *, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), argument],
        env={"PROMETHEUS_MULTIPROC_DIR": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HELD_AT_A_FORK = """
import os, sys, threading
from prometheus_client import CollectorRegistry
from prefect_otel_status import patches, signals
from prefect_otel_status.sinks import prometheus_instruments as module

patches.prepare()
held, ended = threading.Event(), threading.Event()

def hold():
    with module._lock, patches._lock:
        held.set()
        ended.wait(60)

threading.Thread(target=hold, daemon=True).start()
held.wait(60)
pid = os.fork()
if pid == 0:
    instruments = module.PrometheusInstruments(CollectorRegistry())
    instruments.after_fork()
    labels = tuple((name, "x") for name in signals.MESSAGES.label_names)
    instruments.count(signals.MESSAGES, labels, 1)
    patches.undo()
    os._exit(7)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
ended.set()
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
def test_a_child_goes_on_where_a_thread_held_our_locks_at_the_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HELD_AT_A_FORK],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 7, done.stderr
