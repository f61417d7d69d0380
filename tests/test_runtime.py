"""The runtime: wired from the settings, made once, shut down once and in time."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prefect import flow
from prometheus_client import CollectorRegistry

from prefect_otel_status import runtime as runtime_module
from prefect_otel_status import signals, status
from prefect_otel_status.model import Status
from prefect_otel_status.providers import Providers
from prefect_otel_status.runtime import Runtime, install_sigterm
from prefect_otel_status.settings import Settings
from tests.support.metrics import counter, read, scrape
from tests.support.records import FLOW_RUN_ID, flow_run
from tests.support.server import wait_for
from tests.support.telling import WAIT, Told, a_flow_run

Tell = Callable[..., Told]
ROOT = Path(__file__).parent.parent


@flow
def train() -> None:
    """The flow of these tests."""


class Owned:
    """A provider of our own, that keeps what is asked of it."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.asked: list[str] = []
        self._gate = gate

    def force_flush(self) -> bool:
        self.asked.append("force_flush")
        return True

    def shutdown(self) -> None:
        self.asked.append("shutdown")
        if self._gate is not None:
            self._gate.wait(WAIT)


@pytest.fixture
def none_in_use(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process has no runtime yet."""
    before = runtime_module.current()
    runtime_module.use(None)
    yield
    made = runtime_module.current()
    if made is not None:
        made.recorder.stop(WAIT)
    runtime_module.use(before)


def give(told: Told, *owned: Any) -> None:
    """Make OWNED the providers that TOLD has to end."""
    known = told.runtime.providers()
    told.runtime._providers = Providers(known.tracer, known.meter, known.logger, tuple(owned))


def in_process(script: str, **environ: str) -> Any:
    """What SCRIPT prints as JSON, in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PREFECT"))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**inherited, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# --- wiring -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sinks"),
    [
        ({}, ["prefect_event", "run_log", "metric", "log"]),
        ({"prometheus": True}, ["prefect_event", "run_log", "metric", "prometheus", "log"]),
        ({"prefect_events": False, "run_log": False}, ["metric", "log"]),
        ({"log_events": False}, ["prefect_event", "run_log", "metric", "log"]),
        ({"log_events": False, "log_lines": False}, ["prefect_event", "run_log", "metric"]),
        (
            {
                "prefect_events": False,
                "run_log": False,
                "metrics": False,
                "log_events": False,
                "log_lines": False,
            },
            [],
        ),
    ],
)
def test_the_settings_say_where_statuses_go(settings: dict[str, Any], sinks: list[str]) -> None:
    runtime = Runtime(Settings(**settings))
    assert [sink.name for sink in runtime.recorder._sinks] == sinks


def test_what_is_said_is_counted_in_a_given_registry_and_meter() -> None:
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    runtime = Runtime(
        Settings(prefect_events=False, run_log=False, queue_size=10),
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        meter_provider=MeterProvider([reader], shutdown_on_exit=False),
        logger_provider=NoOpLoggerProvider(),
        registry=registry,
    )
    runtime.put(Status("a", "a", level="error"))
    runtime.put(Status("a", "a", level="error"))
    assert runtime.recorder.flush(WAIT)
    labels = {
        "cicd_pipeline_name": "",
        "prefect_deployment_name": "",
        "deployment_environment_name": "",
        "prefect_status_stage": "",
        "prefect_status_level": "error",
        "prefect_status_template": "a",
    }
    assert scrape(registry) == counter(signals.MESSAGES, (labels, 2.0))
    assert list(read(reader)) == ["prefect_status.messages"]
    assert list(read(reader)["prefect_status.messages"]["points"].values()) == [2]
    runtime.recorder.stop(WAIT)


def test_totals_that_were_folded_are_counted_safely() -> None:
    registry = CollectorRegistry()
    runtime = Runtime(Settings(metrics=False), registry=registry)
    runtime._add_folded({(flow_run(), None, "info", "password=hunter22", "pr\nod"): 3})  # type: ignore[arg-type]
    family = scrape(registry)["prefect_status_messages"]
    ((_, labels),) = family.samples
    assert list(family.samples.values()) == [3.0]
    assert dict(labels)["prefect_status_template"] == "password=[redacted]"
    assert dict(labels)["deployment_environment_name"] == "pr od"


def test_lines_are_posted_in_the_background(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[Any] = []
    monkeypatch.setattr(runtime_module, "send_lines", posted.append)
    context: Any = None
    told.runtime._post_lines([{"message": "a"}], context)
    assert told.runtime.background.flush(WAIT)
    assert posted == [[{"message": "a"}]]


def test_a_failure_is_counted_and_passes_by(told: Told) -> None:
    def refuse() -> int:
        raise ValueError("no")

    assert told.runtime.guard("place", refuse) is None
    assert told.runtime.guard("place", lambda: 42) == 42
    assert told.tally(signals.PROCESS_FAILURES) == {"place": 1}


# --- the one of this process --------------------------------------------------


@pytest.mark.usefixtures("none_in_use")
def test_it_is_made_once_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_OTEL_STATUS_ENVIRONMENT", "prod")
    assert runtime_module.current() is None
    made = runtime_module.get()
    assert made.settings.environment == "prod"
    assert runtime_module.get() is made
    assert runtime_module.current() is made


@pytest.mark.usefixtures("none_in_use")
def test_threads_that_ask_at_once_get_the_same() -> None:
    found: list[Runtime] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait(WAIT)
        found.append(runtime_module.get())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(found) == 4
    assert len({id(runtime) for runtime in found}) == 1


@pytest.mark.usefixtures("none_in_use")
def test_a_bad_environment_breaks_no_flow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PREFECT_OTEL_STATUS_MESSAGE_LENGTH", "many")
    monkeypatch.setenv("PREFECT_OTEL_STATUS_ENVIRONMENT", "prod")
    settings = runtime_module.get().settings
    assert (settings.message_length, settings.environment) == (160, "prod")
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "Bad setting: PREFECT_OTEL_STATUS_MESSAGE_LENGTH: input should be a valid integer, "
        "unable to parse string as an integer. The defaults are used instead."
    ]


@pytest.mark.usefixtures("none_in_use")
def test_without_one_there_is_nothing_to_flush_or_shut_down() -> None:
    assert runtime_module.flush() is True
    assert runtime_module.shutdown() is True
    assert runtime_module.current() is None


# --- flush and shutdown -------------------------------------------------------


def test_a_flush_passes_everything_on_and_asks_the_providers(told: Told) -> None:
    owned = Owned()
    give(told, owned)
    status("said")
    assert runtime_module.flush(WAIT) is True
    assert [record.message for record in told.sink.records] == ["said"]
    assert owned.asked == ["force_flush"]


def test_the_end_of_a_run_passes_everything_on(told: Told) -> None:
    status("said")
    told.runtime.run_ended()
    assert [record.message for record in told.sink.records] == ["said"]


async def test_in_an_event_loop_the_end_of_a_run_does_not_wait(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(timeout: float) -> bool:
        raise AssertionError("it waits")

    status("said")
    with monkeypatch.context() as patched:
        patched.setattr(told.runtime.recorder, "flush", refuse)
        told.runtime.run_ended()
    wait_for(lambda: [record.message for record in told.sink.records] == ["said"], timeout=WAIT)


def test_a_forked_child_gets_a_meter_of_its_own(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[Providers] = []

    def renew(current: Providers, settings: Any, tally: Any) -> Providers:
        renewed.append(current)
        return current

    monkeypatch.setattr(runtime_module.providers, "renew_meter", renew)
    told.runtime._meter()
    known = told.runtime.providers()
    told.runtime.after_fork()
    told.runtime._meter()
    told.runtime._meter()
    assert renewed == [known]


def test_a_shutdown_ends_open_spans_and_happens_once(told: Told) -> None:
    owned = Owned()
    give(told, owned)
    told.telemetry()._start_span(a_flow_run(), {})
    status("said")
    assert runtime_module.shutdown(WAIT) is True
    assert runtime_module.shutdown(WAIT) is True
    assert told.spans["RUN"].attributes[signals.INCOMPLETE.name] is True
    assert [record.message for record in told.sink.records] == ["said"]
    assert owned.asked == ["shutdown"]


def test_a_shutdown_leaves_runs_without_a_span_alone(told: Told) -> None:
    told.runtime.registry.open(UUID(FLOW_RUN_ID), "flow")
    assert told.runtime.shutdown(WAIT) is True


def test_a_provider_that_hangs_delays_no_longer_than_the_bound(tell: Tell) -> None:
    told, gate = tell(exit_timeout=0.2), threading.Event()
    give(told, Owned(gate))
    try:
        assert told.runtime.shutdown() is False
    finally:
        gate.set()


# --- SIGTERM ------------------------------------------------------------------


@pytest.fixture
def sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm")
def test_sigterm_is_handled_once_and_only_where_nobody_else_does(told: Told) -> None:
    assert install_sigterm(told.runtime) is True
    ours = signal.getsignal(signal.SIGTERM)
    assert install_sigterm(told.runtime) is False
    assert signal.getsignal(signal.SIGTERM) is ours


@pytest.mark.usefixtures("sigterm")
def test_sigterm_is_left_alone_off_the_main_thread(told: Told) -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(install_sigterm(told.runtime)))
    thread.start()
    thread.join(WAIT)
    assert found == [False]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("sigterm")
def test_sigterm_shuts_down_and_is_passed_on(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    assert install_sigterm(told.runtime)
    status("said")
    signal.raise_signal(signal.SIGTERM)
    assert killed == [(os.getpid(), signal.SIGTERM)]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [record.message for record in told.sink.records] == ["said"]


# --- exit and fork ------------------------------------------------------------


def test_an_exit_that_is_under_way_is_counted(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(call: Any) -> None:
        raise RuntimeError("can't register atexit after shutdown")

    monkeypatch.setattr(threading, "_register_atexit", refuse)
    runtime_module.register_exit(told.runtime)
    assert told.tally(signals.PROCESS_FAILURES) == {"exit": 1}


def test_a_child_forgets_what_is_its_parents(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(runtime_module, "register_exit", registered.append)
    told.runtime.tally.dropped("parents")
    with told.run_of(train):
        handle = told.runtime.registry.live()[0]
        runtime_module._after_fork()
        status("of the child")
    assert (handle.detached, handle.span) == (True, None)
    assert told.tally(signals.PROCESS_DROPS) == {}
    assert told.messages == ["of the child"]
    assert registered == [told.runtime]


@pytest.mark.usefixtures("none_in_use")
def test_a_child_of_a_process_without_one_has_none() -> None:
    runtime_module._after_fork()
    assert runtime_module.current() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_child_each_say_their_own(tmp_path: Path) -> None:
    script = """
        import json, os
        from prefect_otel_status import status, flush, runtime
        from prefect_otel_status.testing import CaptureSink
        from prefect_otel_status.settings import Settings

        sink = CaptureSink()
        runtime.use(runtime.Runtime(Settings(), sinks=[sink]))
        status("before")
        reader, writer = os.pipe()
        pid = os.fork()
        status("child" if pid == 0 else "parent")
        assert flush(10)
        said = [record.message for record in sink.records]
        if pid == 0:
            os.write(writer, json.dumps(said).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        print(json.dumps({"parent": said, "child": json.loads(os.read(reader, 1000))}))
    """
    found = in_process(script, PREFECT_OTEL_STATUS_FOLDER=str(tmp_path))
    assert found["parent"] == ["before", "parent"]
    assert found["child"][-1] == "child"
    assert set(found["child"]) <= {"before", "child"}


def test_everything_is_sent_at_exit_without_being_asked(tmp_path: Path) -> None:
    script = """
        import json
        from prefect_otel_status import stage
        with stage("only"):
            pass
        print(json.dumps("done"))
    """
    assert in_process(script, PREFECT_OTEL_STATUS_FOLDER=str(tmp_path)) == "done"
    (line,) = (tmp_path / "traces.jsonl").read_text().splitlines()
    (span,) = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["name"] == "only"
