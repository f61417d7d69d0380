"""The gauges that the store answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event, insert
from sqlalchemy.engine import Connection

from prefect_otel_status import signals
from prefect_otel_status.bridge.exposition import Family
from prefect_otel_status.bridge.gauges import families, read_gauges
from prefect_otel_status.bridge.tables import deployments, metadata, outbox, runs
from prefect_otel_status.sanitize import line
from prefect_otel_status.signals import Metric

SECOND = 10**9
NOW = 1_000 * SECOND


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def add_run(conn: Connection, number: int, **columns: Any) -> None:
    row = {
        **{"id": f"run-{number}", "phase": "active", "due": 0, "flow": "deploy"},
        **{"deployment": "prod", "environment": "live", "state_type": "RUNNING"},
        **{"state_name": "Running", "started": 0, "said_at": 0, "stage": "", "body": b""},
    }
    conn.execute(insert(runs), {**row, **columns})


def add_deployment(conn: Connection, **columns: Any) -> None:
    row = {
        **{"flow": "deploy", "deployment": "prod", "environment": "live", "model": ""},
        **{"version": "", "last_success": 0, "last_seen": 0, "interval": 0.0},
        **{"last_result": "", "last_run_id": "", "last_ended": 0},
    }
    conn.execute(insert(deployments), {**row, **columns})


def add_item(conn: Connection, **columns: Any) -> None:
    row = {"signal": "traces", "terminal": False, "name": "x", "body": b"", "attempts": 0}
    conn.execute(insert(outbox), {**row, **columns})


def read(conn: Connection) -> dict[Metric, dict[tuple[str, ...], float]]:
    """All gauges that have a series, without the outbox's."""
    found = read_gauges(conn, now=NOW)
    return {
        metric: dict(samples)
        for metric, samples in found.items()
        if samples and ".outbox." not in metric.name
    }


PROD = ("deploy", "prod", "live")


def test_an_empty_store_shows_an_empty_outbox(conn: Connection) -> None:
    assert {
        metric: samples for metric, samples in read_gauges(conn, now=NOW).items() if samples
    } == {
        signals.BRIDGE_OUTBOX_ITEMS: [((), 0.0)],
        signals.BRIDGE_OUTBOX_SIZE: [((), 0.0)],
        signals.BRIDGE_OUTBOX_AGE: [((), 0.0)],
        signals.BRIDGE_SET_ASIDE: [((), 0.0)],
    }


def test_active_runs_are_counted_by_where_they_are(conn: Connection) -> None:
    states = ("SCHEDULED", "SCHEDULED", "PENDING", "PAUSED", "RUNNING", "RUNNING", "CANCELLING")
    for number, state in enumerate(states):
        add_run(conn, number, state_type=state, state_name="Late" if number < 2 else "")
    add_run(conn, 10, deployment="", environment="", state_type="RUNNING")
    add_run(conn, 11, state_type="COMPLETED", state_name="Completed")  # its end is being read
    add_run(conn, 12, phase="ended")
    add_run(conn, 13, phase="settled", state_name="Late")
    add_run(conn, 14, flow="")  # not described yet, or a task without a flow
    assert read(conn) == {
        signals.RUN_ACTIVE: {
            (*PROD, "pending"): 4.0,
            (*PROD, "executing"): 2.0,
            (*PROD, "finalizing"): 1.0,
            ("deploy", "", "", "executing"): 1.0,
        },
        signals.RUNS_LATE: {PROD: 2.0, ("deploy", "", ""): 0.0},
    }


def test_a_deployment_that_does_nothing_shows_0(conn: Connection) -> None:
    add_deployment(conn)
    assert read(conn) == {
        signals.RUN_ACTIVE: {
            (*PROD, "executing"): 0.0,
            (*PROD, "finalizing"): 0.0,
            (*PROD, "pending"): 0.0,
        },
        signals.RUNS_LATE: {PROD: 0.0},
    }


def test_a_run_that_has_bound_no_environment_yet_is_in_that_of_its_deployment(
    conn: Connection,
) -> None:
    add_deployment(conn)
    add_run(conn, 1, environment="", state_name="Late", state_type="SCHEDULED")
    add_run(conn, 2, environment="", deployment="other", started=SECOND)
    found = read(conn)
    assert found[signals.RUNS_LATE] == {PROD: 1.0, ("deploy", "other", ""): 0.0}
    assert found[signals.RUN_ACTIVE][(*PROD, "pending")] == 1.0
    assert found[signals.OLDEST_ACTIVE_START] == {("deploy", "other", ""): 1.0}


def test_the_oldest_start_and_the_longest_silence_are_those_of_active_runs(
    conn: Connection,
) -> None:
    add_run(conn, 0, started=50 * SECOND, said_at=80 * SECOND)
    add_run(conn, 1, started=40 * SECOND, said_at=90 * SECOND, state_type="CANCELLING")
    add_run(conn, 2)  # has not started and said nothing
    add_run(conn, 3, started=1, said_at=1, phase="settled")
    found = read(conn)
    assert found[signals.OLDEST_ACTIVE_START] == {PROD: 40.0}
    assert found[signals.LAST_MESSAGE] == {PROD: 80.0}


def test_progress_is_that_of_the_run_that_spoke_last_in_each_stage(conn: Connection) -> None:
    add_run(conn, 0, stage="train", progress=0.9, said_at=80)
    add_run(conn, 1, stage="train", progress=0.2, said_at=90)
    add_run(conn, 2, stage="train", said_at=99)  # tells no progress
    add_run(conn, 3, stage="evaluate", progress=0.0, said_at=10)
    add_run(conn, 4, stage="promote", progress=1.0, said_at=10, phase="ended")
    assert read(conn)[signals.PROGRESS_RATIO] == {
        (*PROD, "train"): 0.2,
        (*PROD, "evaluate"): 0.0,
    }


def test_deployments_tell_what_is_known_of_them(conn: Connection) -> None:
    add_deployment(conn, last_success=7 * SECOND, interval=3600.0, model="bert", version="2")
    add_deployment(conn, deployment="a", environment="", model="bert")
    add_deployment(conn, deployment="b", interval=-1.0)
    found = read(conn)
    assert {
        metric: found[metric]
        for metric in (signals.LAST_SUCCESS, signals.EXPECTED_INTERVAL, signals.DEPLOYMENT_INFO)
    } == {
        signals.LAST_SUCCESS: {PROD: 7.0},
        signals.EXPECTED_INTERVAL: {("deploy", "prod"): 3600.0},
        signals.DEPLOYMENT_INFO: {
            (*PROD, "bert", "2"): 1.0,
            ("deploy", "a", "", "bert", ""): 1.0,
        },
    }


def test_a_deployment_tells_its_last_run_and_its_last_status(conn: Connection) -> None:
    add_deployment(conn, last_ended=7 * SECOND, last_result="failure")
    add_deployment(conn, deployment="a", last_ended=8 * SECOND)  # it ended with no result
    said = {"stage": "evaluate", "level": "error", "template": "Scored\n{model}"}
    add_deployment(conn, deployment="b", said_at=9 * SECOND, message="Scored bert", **said)
    found = read(conn)
    assert found[signals.LAST_RUN] == {(*PROD, "failure"): 7.0}
    assert found[signals.LAST_STATUS] == {
        ("deploy", "b", "live", "evaluate", "error", line("Scored\n{model}")): 9.0
    }


def test_the_outbox_tells_what_waits_and_what_was_refused(conn: Connection) -> None:
    add_item(conn, created=NOW - 9 * SECOND, size=100)
    add_item(conn, created=NOW - 3 * SECOND, size=20)
    add_item(conn, created=0, size=5000, set_aside="400 Bad Request")
    found = read_gauges(conn, now=NOW)
    assert {m: samples for m, samples in found.items() if ".outbox." in m.name} == {
        signals.BRIDGE_OUTBOX_ITEMS: [((), 2.0)],
        signals.BRIDGE_OUTBOX_SIZE: [((), 120.0)],
        signals.BRIDGE_OUTBOX_AGE: [((), 9.0)],
        signals.BRIDGE_SET_ASIDE: [((), 1.0)],
    }


def test_labels_are_the_ones_that_counters_have(conn: Connection) -> None:
    add_run(conn, 0, flow="a\nb" + "c" * 300, said_at=SECOND)
    ((labels, _),) = read(conn)[signals.LAST_MESSAGE].items()
    assert labels == ("a b" + "c" * 196 + "…", "prod", "live")


def test_finished_runs_are_not_looked_at(conn: Connection) -> None:
    asked: list[tuple[str, Any]] = []

    @event.listens_for(conn, "before_cursor_execute")
    def note(_conn: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        asked.append((sql, values))

    read_gauges(conn, now=NOW)
    plans = [
        str(row.detail)
        for sql, values in list(asked)
        for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
    ]
    of_runs = [plan for plan in plans if " runs" in plan]
    assert of_runs == ["SEARCH runs USING INDEX runs_by_phase (phase=?)"] * 2


def test_families_have_each_series_once_and_in_order() -> None:
    gauges: Any = {
        signals.BRIDGE_LAG: [((), 1.0), ((), 2.0)],
        signals.LAST_SUCCESS: [],
        signals.LAST_MESSAGE: [(("b", "", ""), 1.0), (("a", "", ""), 2.0)],
    }
    assert families(gauges) == [
        Family(signals.BRIDGE_LAG, [((), 2.0)]),
        Family(signals.LAST_MESSAGE, [(("a", "", ""), 2.0), (("b", "", ""), 1.0)]),
    ]
