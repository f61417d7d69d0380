"""Statuses and their kin as counters, gauges and histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics

from prefect_otel_status import signals
from prefect_otel_status.model import Run
from prefect_otel_status.signals import OTHER, Metric
from prefect_otel_status.sinks.base import Sink
from prefect_otel_status.sinks.metric import Labels, MetricSink
from prefect_otel_status.sinks.otel_instruments import OtelInstruments
from prefect_otel_status.sinks.prometheus_instruments import PrometheusInstruments
from prefect_otel_status.tally import Tally
from tests.support.hostile import TEN_MEGABYTES
from tests.support.metrics import Family, counter, gauge, histogram, read, scrape
from tests.support.records import (
    NOW,
    SECOND,
    TRACE_ID,
    envelopes,
    flow_run,
    gate_result,
    log_line,
    stage_end,
    status,
    task_run,
    transition,
)

ENVIRONMENT = {"deployment.environment.name": "prod"}
OF_RUN = {
    "cicd_pipeline_name": "train",
    "prefect_deployment_name": "nightly",
    "deployment_environment_name": "prod",
}
OF_NOTHING = dict.fromkeys(OF_RUN, "")


class Metrics:
    """A sink that counts in a registry of its own."""

    def __init__(self, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.tally = Tally()
        usual: dict[str, Any] = {"deployment_of": lambda run: "nightly"}
        self.sink = MetricSink(
            PrometheusInstruments(self.registry),
            name="prometheus",
            tally=self.tally,
            **{**usual, **options},
        )

    def accept(self, *records: Any) -> Metrics:
        self.sink.accept(envelopes(*records))
        return self

    def shown(self) -> dict[str, Family]:
        return scrape(self.registry)

    def total(self, metric: Metric) -> float:
        """The sum of all series of the counter METRIC."""
        found = self.shown()[metric.prometheus_name.removesuffix("_total")]
        return sum(found.samples.values())


def of_message(template: str, stage: str = "", level: str = "info") -> dict[str, str]:
    return {
        "prefect_status_template": template,
        "prefect_status_stage": stage,
        "prefect_status_level": level,
    }


# --- each kind of record -------------------------------------------------------


def test_a_status_is_counted_and_its_time_and_progress_shown() -> None:
    metrics = Metrics().accept(
        status("Half {x}", message="Half 1", stage="load", progress=0.5, bound=ENVIRONMENT)
    )
    assert metrics.shown() == {
        **counter(signals.MESSAGES, ({**OF_RUN, **of_message("Half {x}", "load")}, 1.0)),
        **gauge(signals.LAST_MESSAGE, (OF_RUN, NOW / 1e9)),
        **gauge(signals.PROGRESS_RATIO, ({**OF_RUN, "prefect_status_stage": "load"}, 0.5)),
    }


def test_a_status_outside_a_run_is_counted_only() -> None:
    metrics = Metrics().accept(status("a", run=None, progress=0.5))
    assert metrics.shown() == counter(signals.MESSAGES, ({**OF_NOTHING, **of_message("a")}, 1.0))


def test_a_status_is_counted_by_its_event_where_it_has_one() -> None:
    metrics = Metrics().accept(status("a", event="happened", run=None, level="error"))
    assert metrics.shown() == counter(
        signals.MESSAGES, ({**OF_NOTHING, **of_message("happened", level="error")}, 1.0)
    )


def test_a_change_of_state_of_a_flow_run_is_counted() -> None:
    metrics = Metrics().accept(transition("RUNNING", bound=ENVIRONMENT))
    state = {"prefect_state_type": "RUNNING", "prefect_state_name": "Running"}
    assert metrics.shown() == counter(signals.TRANSITIONS, ({**OF_RUN, **state}, 1.0))


def test_a_flow_run_that_ended_well_is_measured() -> None:
    metrics = Metrics().accept(transition(result="success", duration=2.0, bound=ENVIRONMENT))
    state = {"prefect_state_type": "COMPLETED", "prefect_state_name": "Completed"}
    ended = {"cicd_pipeline_run_state": "executing", "cicd_pipeline_result": "success"}
    assert metrics.shown() == {
        **counter(signals.TRANSITIONS, ({**OF_RUN, **state}, 1.0)),
        **histogram(signals.RUN_DURATION, ({**OF_RUN, **ended, "error_type": ""}, [2.0])),
    }


@pytest.mark.parametrize("result", ["failure", "error", "timeout"])
def test_a_flow_run_that_failed_is_an_error_and_measured(result: str) -> None:
    ended = transition(
        "FAILED", result=result, duration=2.0, error_type="ValueError", bound=ENVIRONMENT
    )
    state = {"prefect_state_type": "FAILED", "prefect_state_name": "Failed"}
    labels = {"cicd_pipeline_run_state": "executing", "cicd_pipeline_result": result}
    error = {"error_type": "ValueError"}
    assert Metrics().accept(ended).shown() == {
        **counter(signals.TRANSITIONS, ({**OF_RUN, **state}, 1.0)),
        **counter(signals.RUN_ERRORS, ({**OF_RUN, **error}, 1.0)),
        **histogram(signals.RUN_DURATION, ({**OF_RUN, **labels, **error}, [2.0])),
    }


@pytest.mark.parametrize("result", ["success", "cancellation", "skip"])
def test_a_flow_run_that_ended_otherwise_is_no_error(result: str) -> None:
    shown = Metrics().accept(transition(result=result, duration=2.0)).shown()
    assert set(shown) == {"prefect_flow_run_transitions", "cicd_pipeline_run_duration_seconds"}


def test_a_run_whose_start_is_unknown_is_not_measured() -> None:
    shown = Metrics().accept(transition(result="success"), transition(run=task_run())).shown()
    assert set(shown) == {"prefect_flow_run_transitions"}


def test_a_task_run_that_ended_is_measured() -> None:
    metrics = Metrics().accept(
        transition(run=task_run(), result="skip", duration=2.0, bound=ENVIRONMENT)
    )
    labels = {"cicd_pipeline_task_name": "score", "cicd_pipeline_task_run_result": "skip"}
    assert metrics.shown() == histogram(signals.TASK_DURATION, ({**OF_RUN, **labels}, [2.0]))


def test_further_attempts_of_a_task_run_are_counted() -> None:
    task = {"run": task_run(), "bound": ENVIRONMENT}
    metrics = Metrics().accept(
        transition("RUNNING", attempt=1, **task),
        transition("RUNNING", attempt=2, **task),
        transition("RUNNING", attempt=3, **task),
        transition("PENDING", attempt=3, **task),
    )
    series = {**OF_RUN, "cicd_pipeline_task_name": "score"}
    assert metrics.shown() == counter(signals.TASK_RETRIES, (series, 2.0))


def test_a_stage_is_measured() -> None:
    metrics = Metrics().accept(stage_end(bound=ENVIRONMENT), stage_end(run=None, duration=0.5))
    labels = {"prefect_status_stage": "load", "cicd_pipeline_result": "success"}
    assert metrics.shown() == histogram(
        signals.STAGE_DURATION, ({**OF_RUN, **labels}, [2.0]), ({**OF_NOTHING, **labels}, [0.5])
    )


def test_a_gate_is_counted_and_its_score_shown() -> None:
    metrics = Metrics().accept(
        gate_result(bound=ENVIRONMENT), gate_result(bound=ENVIRONMENT, score=0.5, passed=False)
    )
    gate = {**OF_RUN, "prefect_status_gate_name": "accuracy"}
    assert metrics.shown() == {
        **counter(
            signals.GATE_RESULTS,
            ({**gate, "prefect_status_gate_decision": "pass"}, 1.0),
            ({**gate, "prefect_status_gate_decision": "fail"}, 1.0),
        ),
        **gauge(signals.GATE_SCORE_VALUE, (gate, 0.5)),
    }


def test_a_line_of_the_flow_is_no_number() -> None:
    assert Metrics().accept(log_line()).shown() == {}


def test_a_duration_of_a_sampled_trace_carries_its_id() -> None:
    metrics = Metrics().accept(
        transition(result="success", duration=2.0),
        transition(run=task_run(), result="success", duration=2.0, sampled=False),
    )
    lines = open_metrics(metrics.registry).decode().splitlines()
    exemplars = [line for line in lines if " # " in line]
    assert [f'# {{trace_id="{TRACE_ID:032x}"}} 2.0' in line for line in exemplars] == [True]


# --- OpenTelemetry's meter -----------------------------------------------------


def test_the_same_numbers_reach_opentelemetrys_meter() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    sink = MetricSink(
        OtelInstruments(lambda: provider.get_meter("test")),
        name="metric",
        tally=Tally(),
        deployment_of=lambda run: "",
    )
    sink.accept(envelopes(status("a"), status("a"), gate_result()))
    found = read(reader)
    provider.shutdown()
    train = ("cicd.pipeline.name", "train")
    assert {name: data["points"] for name, data in found.items()} == {
        "prefect_status.messages": {
            (train, ("prefect_status.level", "info"), ("prefect_status.template", "a")): 2
        },
        "prefect_status.last_message.timestamp": {(train,): NOW / 1e9},
        "prefect_status.gate.results": {
            (
                train,
                ("prefect_status.gate.decision", "pass"),
                ("prefect_status.gate.name", "accuracy"),
            ): 1
        },
        "prefect_status.gate.score": {(train, ("prefect_status.gate.name", "accuracy")): 0.93},
    }


class Recorded:
    """Instruments that keep what they are given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Metric, Labels, float]] = []

    def count(self, metric: Metric, labels: Labels, amount: int) -> None:
        self.calls.append((metric, labels, amount))

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        self.calls.append((metric, labels, value))

    def observe(self, metric: Metric, labels: Labels, value: float, trace_id: str | None) -> None:
        self.calls.append((metric, labels, value))


def recording(**options: Any) -> tuple[MetricSink, Recorded]:
    """A sink, and what it gives to its instruments."""
    recorded = Recorded()
    usual: dict[str, Any] = {"tally": Tally(), "deployment_of": lambda run: ""}
    return MetricSink(recorded, name="metric", **{**usual, **options}), recorded


def test_every_metric_is_given_the_labels_that_are_declared() -> None:
    tally = Tally()
    sink, recorded = recording(tally=tally)
    for metric in (signals.PROCESS_DROPS, signals.PROCESS_FAILURES, signals.PROCESS_REDACTIONS):
        tally.add(metric, "a")
    tally.add(signals.PROCESS_FLAGS, "a")
    tally.add(signals.PROCESS_OVERFLOW, "a")
    sink.accept(
        envelopes(
            status(progress=0.5),
            transition("FAILED", result="failure", duration=1.0),
            transition("RUNNING", run=task_run(), attempt=2),
            transition(run=task_run(), result="success", duration=1.0),
            stage_end(),
            gate_result(),
        )
    )
    given_labels = {
        metric: tuple(name for name, _ in labels) for metric, labels, _ in recorded.calls
    }
    assert given_labels == {
        metric: tuple(label.name for label in metric.labels)
        for metric in signals.declared(Metric)
        if isinstance(metric, Metric) and not metric.bridge_only
    }


# --- grouping ------------------------------------------------------------------


def test_statuses_of_a_batch_are_counted_once_a_series() -> None:
    sink, recorded = recording()
    said = [status("a"), status("b"), status("a"), status("a", level="error"), status("a")]
    sink.accept(envelopes(*said))
    counts = [
        (dict(labels)["prefect_status.template"], dict(labels)["prefect_status.level"], amount)
        for metric, labels, amount in recorded.calls
        if metric is signals.MESSAGES
    ]
    assert counts == [("a", "info", 3), ("b", "info", 1), ("a", "error", 1)]


def test_statuses_of_different_runs_stages_and_environments_are_apart() -> None:
    metrics = Metrics().accept(
        status("a", bound=ENVIRONMENT),
        status("a", bound=ENVIRONMENT, stage="load"),
        status("a", bound={"deployment.environment.name": "test"}),
        status("a", bound=ENVIRONMENT, run=flow_run(id="other", flow_name="other")),
    )
    found = metrics.shown()["prefect_status_messages"]
    assert (
        found
        == counter(
            signals.MESSAGES,
            ({**OF_RUN, **of_message("a")}, 1.0),
            ({**OF_RUN, **of_message("a", "load")}, 1.0),
            ({**OF_RUN, **of_message("a"), "deployment_environment_name": "test"}, 1.0),
            ({**OF_RUN, **of_message("a"), "cicd_pipeline_name": "other"}, 1.0),
        )["prefect_status_messages"]
    )


def test_of_a_batch_the_gauges_show_the_latest_whatever_the_template() -> None:
    metrics = Metrics().accept(
        status("a", progress=0.1, timestamp=NOW, bound=ENVIRONMENT),
        status("b", progress=0.2, timestamp=NOW + SECOND, bound=ENVIRONMENT),
        status("a", progress=0.3, timestamp=NOW + 2 * SECOND, bound=ENVIRONMENT),
    )
    shown = metrics.shown()
    assert {name: shown[name] for name in shown if name != "prefect_status_messages"} == {
        **gauge(signals.LAST_MESSAGE, (OF_RUN, NOW / 1e9 + 2)),
        **gauge(signals.PROGRESS_RATIO, ({**OF_RUN, "prefect_status_stage": ""}, 0.3)),
    }


def test_progress_is_shown_although_a_later_status_of_the_batch_has_none() -> None:
    metrics = Metrics().accept(
        status("a", progress=0.5, bound=ENVIRONMENT), status("a", bound=ENVIRONMENT)
    )
    name = "prefect_status_progress_ratio"
    series = ({**OF_RUN, "prefect_status_stage": ""}, 0.5)
    assert {name: metrics.shown().get(name)} == gauge(signals.PROGRESS_RATIO, series)


def test_the_deployment_of_a_run_is_asked_for() -> None:
    asked: list[Run] = []

    def deployment_of(run: Run) -> str:
        asked.append(run)
        return "weekly"

    metrics = Metrics(deployment_of=deployment_of).accept(stage_end(bound=ENVIRONMENT))
    (family,) = metrics.shown().values()
    assert {dict(labels)["prefect_deployment_name"] for _, labels in family.samples} == {"weekly"}
    assert asked == [flow_run()]


# --- labels --------------------------------------------------------------------


def test_bound_attributes_become_labels_where_the_settings_ask_for_it() -> None:
    bound = {**ENVIRONMENT, "model.name": "bert", "team": "vision", "secret": "no"}
    metrics = Metrics(extra_labels=("model", "team", "environment"))
    metrics.accept(status("a", bound=bound), status("a", bound=bound), status("a"))
    extra = {"model_name": "bert", "team": "vision"}
    assert (
        metrics.shown()["prefect_status_messages"]
        == counter(
            signals.MESSAGES,
            ({**OF_RUN, **of_message("a"), **extra}, 2.0),
            (
                {
                    **OF_RUN,
                    **of_message("a"),
                    "deployment_environment_name": "",
                    "model_name": "",
                    "team": "",
                },
                1.0,
            ),
        )["prefect_status_messages"]
    )


@settings(deadline=None, max_examples=50)
@given(
    said=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("stuvw"))),
    size=st.integers(1, 10),
)
def test_beyond_the_budget_values_are_folded_and_totals_stay_exact(
    said: list[tuple[str, str]], size: int
) -> None:
    metrics = Metrics(budget=3)
    for start in range(0, len(said), size):
        batch = said[start : start + size]
        metrics.accept(*(status(template, stage=stage, run=None) for template, stage in batch))
    assert (metrics.total(signals.MESSAGES) if said else 0) == len(said)
    series = metrics.shown()["prefect_status_messages"].samples if said else {}
    for label in ("prefect_status_template", "prefect_status_stage"):
        assert len({dict(labels)[label] for _, labels in series} - {OTHER}) <= 3


def test_each_folded_value_is_tallied_by_its_metric() -> None:
    metrics = Metrics(budget=2)
    metrics.accept(*(status(f"t{number}", run=None) for number in range(5)))
    assert metrics.shown() == {
        **counter(
            signals.MESSAGES,
            ({**OF_NOTHING, **of_message("t0")}, 1.0),
            ({**OF_NOTHING, **of_message("t1")}, 1.0),
            ({**OF_NOTHING, **of_message(OTHER)}, 3.0),
        ),
        **counter(
            signals.PROCESS_OVERFLOW, ({"prefect_status_metric": "prefect_status.messages"}, 3.0)
        ),
    }


def test_values_that_are_few_by_nature_and_empty_ones_need_no_budget() -> None:
    metrics = Metrics(budget=1)
    levels = ("debug", "info", "warning", "error", "critical")
    metrics.accept(*(status("a", run=None, level=level) for level in levels))
    metrics.accept(status("a", run=None, stage="load"), status("a", run=None, stage=None))
    shown = metrics.shown()["prefect_status_messages"].samples
    assert {dict(labels)["prefect_status_level"] for _, labels in shown} == set(levels)
    assert {dict(labels)["prefect_status_stage"] for _, labels in shown} == {"", "load"}


def test_a_hundred_thousand_templates_stay_within_the_budget() -> None:
    metrics = Metrics(budget=200)
    for start in range(0, 100_000, 500):
        metrics.sink.add_folded(
            {(None, None, "info", f"t{start + n}", None): 10 for n in range(500)}
        )
    assert metrics.total(signals.MESSAGES) == 1_000_000
    assert len(metrics.shown()["prefect_status_messages"].samples) == 201


@pytest.mark.parametrize("value", ["\ud800", "\x00", '"} 1\nfake 1', TEN_MEGABYTES, 2**70, b"x"])
def test_whatever_is_said_the_scrape_can_be_read(value: Any) -> None:
    metrics = Metrics(extra_labels=("model",))
    text = value if isinstance(value, str) else "a"
    metrics.accept(
        status(text, stage=text, event=text, bound={"model.name": value}),
        stage_end(text),
        gate_result(text, score=float("nan")),
        transition(state_name=text, error_type=text, result="failure", duration=1.0),
    )
    assert metrics.total(signals.MESSAGES) == 1.0


@pytest.mark.parametrize("name", ["\ud800", "x" * 5000], ids=["surrogate", "long"])
def test_whatever_a_run_is_called_the_scrape_can_be_read(name: str) -> None:
    run = task_run(flow_name=name, task_name=name)
    metrics = Metrics().accept(
        status("a", run=run), transition(run=run, result="success", duration=1.0)
    )
    assert metrics.total(signals.MESSAGES) == 1.0
    for family in metrics.shown().values():
        assert max(len(value) for _, labels in family.samples for _, value in labels) <= 200


# --- what was folded, and the tally --------------------------------------------


def test_statuses_of_which_only_the_totals_were_kept_are_counted() -> None:
    metrics = Metrics()
    metrics.sink.add_folded(
        {
            (flow_run(), "load", "info", "a", "prod"): 30,
            (flow_run(), None, "error", None, "prod"): 4,
            (None, None, "info", "a", None): 2,
        }
    )
    assert metrics.shown() == counter(
        signals.MESSAGES,
        ({**OF_RUN, **of_message("a", "load")}, 30.0),
        ({**OF_RUN, **of_message(OTHER, level="error")}, 4.0),
        ({**OF_NOTHING, **of_message("a")}, 2.0),
    )


PROCESS = [
    signals.PROCESS_DROPS,
    signals.PROCESS_FLAGS,
    signals.PROCESS_FAILURES,
    signals.PROCESS_REDACTIONS,
]


@pytest.mark.parametrize("metric", PROCESS, ids=lambda metric: metric.name)
def test_what_is_tallied_is_shown_once(metric: Metric) -> None:
    metrics = Metrics()
    metrics.tally.add(metric, "a", 2)
    metrics.accept()
    metrics.sink.flush()
    assert metrics.shown() == counter(metric, ({"prefect_status_reason": "a"}, 2.0))
    metrics.tally.add(metric, "a")
    metrics.tally.add(metric, "b")
    metrics.sink.flush()
    assert metrics.shown() == counter(
        metric, ({"prefect_status_reason": "a"}, 3.0), ({"prefect_status_reason": "b"}, 1.0)
    )


def test_several_sinks_show_the_whole_tally_each() -> None:
    first, second = Metrics(), Metrics()
    second.sink._tally = first.tally
    first.tally.add(signals.PROCESS_DROPS, "a", 2)
    first.sink.flush()
    second.sink.flush()
    assert first.shown() == second.shown()


def test_what_a_child_tallies_is_shown_from_the_first() -> None:
    metrics = Metrics()
    metrics.tally.add(signals.PROCESS_DROPS, "a", 5)
    metrics.sink.flush()
    metrics.tally.after_fork()
    metrics.sink.after_fork()
    metrics.tally.add(signals.PROCESS_DROPS, "a", 2)
    metrics.sink.flush()
    assert metrics.shown() == counter(signals.PROCESS_DROPS, ({"prefect_status_reason": "a"}, 7.0))


# --- failing -------------------------------------------------------------------


class Refusing(Recorded):
    """Instruments that refuse one metric."""

    def __init__(self, refused: Metric) -> None:
        super().__init__()
        self._refused = refused

    def count(self, metric: Metric, labels: Labels, amount: int) -> None:
        if metric is self._refused:
            raise ValueError("refused")
        super().count(metric, labels, amount)

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        if metric is self._refused:
            raise ValueError("refused")
        super().set(metric, labels, value)


@pytest.mark.parametrize(
    "refused", [signals.LAST_MESSAGE, signals.GATE_RESULTS], ids=lambda metric: metric.name
)
def test_a_metric_that_is_refused_does_not_take_the_other_counts_along(refused: Metric) -> None:
    recorded = Refusing(refused)
    tally = Tally()
    sink = MetricSink(recorded, name="metric", tally=tally, deployment_of=lambda run: "")
    said = [gate_result(), status("a"), status("b"), status("c")]
    sink.accept(envelopes(*said))
    assert tally.read() == {(signals.PROCESS_FAILURES, "metric"): 1}
    counted = sum(amount for metric, _, amount in recorded.calls if metric is signals.MESSAGES)
    assert counted == 3


def test_nothing_is_ever_due() -> None:
    sink, _ = recording()
    assert isinstance(sink, Sink)
    assert (sink.name, sink.tick(NOW)) == ("metric", None)


def test_a_name_can_be_given_as_it_is_on_signals() -> None:
    made: Callable[..., Metrics] = Metrics
    metrics = made(extra_labels=("model.name",)).accept(status("a", bound={"model.name": "bert"}))
    (labels,) = (dict(labels) for _, labels in metrics.shown()["prefect_status_messages"].samples)
    assert labels["model_name"] == "bert"
