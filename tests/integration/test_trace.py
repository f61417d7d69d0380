"""The command `trace` against a real server: with our code in the flow, without, and alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prefect_otel_status import trees
from tests.conftest import run_flow
from tests.support.server import wait_for

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]


def trace(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prefect_otel_status", "trace", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_run_that_knows_nothing_of_us_is_read_from_history(flow_env: dict[str, str]) -> None:
    run_flow("plain.py", env=flow_env)

    def is_whole() -> str | None:
        found = trace("--last", "plain", env=flow_env).stdout
        return found if re.search(r"(?m)^└── ✓ greet ", found) else None

    tree = wait_for(is_whole, timeout=60, what="the run in the server's history")
    assert re.match(r"✓ RUN plain  ", tree)
    assert len(tree.splitlines()) == 2


def test_what_a_process_exported_has_the_same_spans(
    flow_env: dict[str, str], tmp_path: Path
) -> None:
    """History alone gives the ids, parents and statuses that the process itself sent."""
    run_flow("deploy.py", "0.9", env=flow_env)
    exported = {s.span_id: s for s in trees.read_spans(tmp_path / "telemetry")}
    (run,) = (s for s in exported.values() if s.name.startswith("RUN "))
    run_id = run.attributes["cicd.pipeline.run.id"]

    def read() -> dict[str, dict[str, object]] | None:
        done = trace(str(run_id), "--format", "json", env=flow_env)
        spans = {s["span_id"]: s for s in json.loads(done.stdout)["spans"]}
        return spans if spans.keys() >= exported.keys() else None

    spans = wait_for(read, timeout=60, what="all spans in the server's history")
    assert {i: (s["name"], s["parent_id"]) for i, s in spans.items()} == {
        i: (s.name, s.parent_id) for i, s in exported.items()
    }
    assert {i: _said(s["events"]) for i, s in spans.items()} == {
        i: sorted(
            str(e.attributes["prefect_status.message"])
            for e in s.events
            if "prefect_status.message" in e.attributes
        )
        for i, s in exported.items()
    }


def _said(events: object) -> list[str]:
    assert isinstance(events, list)
    texts = (event["attributes"].get("prefect_status.message") for event in events)
    return sorted(text for text in texts if text)


def test_a_run_that_is_not_there_is_a_sentence(flow_env: dict[str, str]) -> None:
    done = trace("no-such-run", env=flow_env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().splitlines()[0].startswith("No run is called 'no-such-run'")


def test_a_server_that_is_away_is_a_sentence(flow_env: dict[str, str]) -> None:
    done = trace("--last", env={**flow_env, "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "http://127.0.0.1:9" in done.stderr


def test_without_a_run_it_says_what_to_write(flow_env: dict[str, str]) -> None:
    done = trace(env=flow_env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Say which run" in done.stderr
