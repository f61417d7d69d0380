"""`ls` and `doctor` against real parts: Prefect, a bridge, a receiver, Prometheus, Alertmanager.

Jaeger and Grafana cannot be had: a small server answers as they do.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, run_flow
from tests.support.alertmanager import alertmanager
from tests.support.bridge import bridge
from tests.support.making import FAILED, maker
from tests.support.prometheus import prometheus
from tests.support.receiver import Received
from tests.support.server import wait_for

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

RULES = ROOT / "dashboards" / "prometheus"
NOBODY = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
SECRET = "hunter2hunter2hunter2"
MESSAGES = "prefect_status_messages_total"
LAG = "prefect_status_bridge_lag_seconds"


def command(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prefect_otel_status", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rows(env: dict[str, str], *arguments: str) -> dict[str, dict[str, Any]]:
    done = command("ls", "--json", *arguments, env=env)
    assert done.returncode in (0, 1), done.stderr
    return {row["flow"]: row for row in json.loads(done.stdout)}


# --- ls --------------------------------------------------------------------------


def test_prefect_alone_and_a_bridge_tell_the_same_of_a_deployment(
    flow_env: dict[str, str], prefect_api: str, tmp_path: Path
) -> None:
    # Where no bridge listens; one that other tests run must not be found.
    alone = {**flow_env, "PREFECT_OTEL_STATUS_LISTEN": "127.0.0.1:9"}
    run_flow("deploy.py", "0.9", env=flow_env)
    with maker(prefect_api) as runs:
        runs.run(FAILED)
        wait_for(
            lambda: (rows(alone).get("deploy") or {}).get("last_status"),
            timeout=60,
            what="the status in Prefect's events",
        )
        found = rows(alone)
        assert found[runs.flow]["health"] == "failing"
        assert found[runs.flow]["why"] == "Its latest run failed: ValueError."
        with bridge(flow_env, tmp_path) as running:
            running.wait_ready(timeout=90)
            wait_for(
                lambda: (
                    rows(alone, "--bridge", running.address).get(runs.flow, {}).get("last_result")
                ),
                timeout=90,
                what="the run in the bridge",
            )
            asked = rows(alone, "--bridge", running.address)
            for flow in ("deploy", runs.flow):
                for name in ("health", "why", "last_status", "last_result", "environment"):
                    assert asked[flow][name] == found[flow][name], (flow, name)
            text = command("ls", "--bridge", running.address, "--flow", runs.flow, env=alone)
            assert f"From the bridge at {running.address}." in text.stdout
            assert len(text.stdout.splitlines()) == 3
            one = ("ls", "--bridge", running.address, "--flow", runs.flow)
            assert command(*one, "--fail-on", "unhealthy", env=alone).returncode == 1
            assert command(*one, "--fail-on", "late", env=alone).returncode == 0
            assert command(*one, "--environment", "none", env=alone).returncode == 0


def test_a_server_that_is_away_is_a_sentence(flow_env: dict[str, str]) -> None:
    away = {**flow_env, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = command("ls", env={**away, "PREFECT_OTEL_STATUS_LISTEN": "127.0.0.1:9"})
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.strip().splitlines()) == 1


# --- doctor ------------------------------------------------------------------------


class Backends:
    """Answers as Jaeger and Grafana do. Jaeger finds what the OTLP receiver got."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self.url = ""

    def answer(self, path: str) -> tuple[int, Any]:
        if path == "/api/health":
            return 200, {"database": "ok", "version": "12.4.2"}
        wanted = path.rpartition("/")[2]
        found = any(span.trace_id.hex() == wanted for span in list(self._received.spans))
        return (200, {"data": [{"traceID": wanted}]}) if found else (404, {"data": []})


@contextmanager
def backends(received: Received) -> Iterator[Backends]:
    found = Backends(received)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = found.answer(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def doctor(env: dict[str, str], *arguments: str) -> tuple[int, dict[str, dict[str, str]], str]:
    """Exit code, results by check, and all that it printed."""
    done = command("doctor", "--json", *arguments, env=env)
    found = {result["check"]: result for result in json.loads(done.stdout)}
    return done.returncode, found, done.stdout + done.stderr


def test_all_is_well_and_the_probe_counts_in_nothing(
    otlp_env: dict[str, str], received: Received, tmp_path: Path
) -> None:
    with bridge(otlp_env, tmp_path) as running, backends(received) as others:
        running.wait_ready(timeout=90)
        said = running.total(MESSAGES)
        code, found, _ = doctor(
            {**otlp_env, "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}"},
            *("--bridge", running.address, "--jaeger", others.url, "--grafana", others.url),
        )
        outcomes = {name: result["outcome"] for name, result in found.items()}
        assert outcomes == {
            **dict.fromkeys(("settings", "versions", "plugin", "prefect server"), "ok"),
            **dict.fromkeys(("event stream", "events stored", "traces", "bridge"), "ok"),
            **dict.fromkeys(("grafana", "jaeger"), "ok"),
            **dict.fromkeys(("prometheus", "alertmanager"), "skipped"),
        }, found
        assert code == 0
        assert SECRET not in json.dumps(found)
        (span,) = [span for span in received.spans if span.name == "PROBE"]
        synthetic = {a.key: a.value.string_value for a in span.attributes}
        assert synthetic == {"user_agent.synthetic.type": "test"}
        # What the server has kept by then the bridge has read too, once it has swept again.
        read = running.total(LAG)
        wait_for(lambda: running.total(LAG) < read or running.total(LAG) < 1, what="a sweep")
        assert running.total(MESSAGES) == said
        assert not any("doctor" in str(key).lower() for key in running.scrape())
        assert running.total("prefect_status_bridge_bad_events_total") == 0


@pytest.mark.long  # the Watchdog takes a minute to arrive
def test_prometheus_and_alertmanager_are_asked_what_they_have(
    flow_env: dict[str, str], tmp_path: Path
) -> None:
    rules = [RULES / "recording.yml", RULES / "alerts.yml"]
    with ExitStack() as stack:
        running = stack.enter_context(bridge(flow_env, tmp_path / "bridge"))
        manager = stack.enter_context(alertmanager(tmp_path / "alertmanager", NOBODY))
        target = running.address.removeprefix("http://")
        to: dict[str, Any] = {"job": "prefect-otel-bridge", "rules": rules, "alertmanager": manager}
        scraping = stack.enter_context(prometheus(tmp_path / "prometheus", target, **to))
        given = ("--prometheus", scraping.address, "--alertmanager", f"http://{manager}")
        asked = ("--bridge", running.address, *given)
        running.wait_ready(timeout=90)

        alerts = f"http://{manager}/api/v2/alerts"
        wait_for(lambda: scraping.query(LAG), timeout=90, what="a scrape")
        wait_for(lambda: httpx.get(alerts, timeout=60).json(), timeout=120, what="the Watchdog")
        _, results, _ = doctor(flow_env, *asked)
        assert results["alertmanager"]["found"] == "the Watchdog arrives"
        words = results["prometheus"]["found"]
        assert re.fullmatch(
            r"scrapes the bridge as job prefect-otel-bridge, with \d+ groups of rules", words
        )


def test_what_is_away_is_said_with_what_to_do(flow_env: dict[str, str], tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    env = {
        **flow_env,
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_API_AUTH_STRING": f"admin:{SECRET}",
        "PREFECT_OTEL_STATUS_LISTEN": "127.0.0.1:9",
        "PREFECT_OTEL_STATUS_STORE": f"postgresql+asyncpg://bridge:{SECRET}@127.0.0.1:9/bridge",
        "PREFECT_OTEL_STATUS_FOLDER": str(blocked / "below"),
    }
    given = ("--prometheus", f"http://user:{SECRET}@127.0.0.1:9", "--jaeger", "http://127.0.0.1:9")
    code, found, printed = doctor(env, *given, "--timeout", "2")
    assert code == 1
    failed = {name for name, result in found.items() if result["outcome"] == "failed"}
    assert failed == {
        *("prefect server", "event stream", "events stored", "traces", "prometheus", "jaeger"),
    }, found
    assert found["prometheus"]["found"] == "nothing answers there"
    assert found["bridge"]["outcome"] == "warning"
    assert all(found[name]["advice"] for name in failed)
    assert SECRET not in printed
    assert "Traceback" not in printed


def test_an_address_that_is_none_is_a_mistake(flow_env: dict[str, str]) -> None:
    done = command("doctor", "--grafana", f"{SECRET}", env=flow_env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "--grafana is no address: write http://HOST:PORT."
