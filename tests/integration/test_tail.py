"""The command `tail` against a real server: what it prints, what it survives, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, run_flow
from tests.support.making import maker, patient
from tests.support.processes import beside, end
from tests.support.server import environment, free_port, wait_for

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

COMMAND = (sys.executable, "-m", "prefect_otel_status", "tail")


class Tail:
    """A `tail --json` that runs, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._out, self._err = folder / "tail.out", folder / "tail.err"

    @property
    def lines(self) -> list[dict[str, Any]]:
        # The last one may not be whole yet.
        whole = self._out.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def errors(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def said(self) -> list[str]:
        return [line["message"] for line in self.lines if line["kind"] == "status"]

    def wait_for(self, *messages: str) -> None:
        """Until it has printed statuses with MESSAGES."""

        def complete() -> bool:
            assert self.process.poll() is None, self.errors
            return set(messages) <= set(self.said())

        try:
            wait_for(complete, timeout=90, what=f"statuses {messages}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}\n{self.errors}") from None


@contextmanager
def tailing(env: dict[str, str], folder: Path, *arguments: str) -> Iterator[Tail]:
    """Run `tail --json` beside the test."""
    with (folder / "tail.out").open("wb") as out, (folder / "tail.err").open("wb") as err:
        process = subprocess.Popen(
            [*COMMAND, "--json", *arguments],
            env=env,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            yield Tail(process, folder)
        finally:
            end(process, signal.SIGKILL)


def once(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `tail` until it ends by itself."""
    return subprocess.run(
        [*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False
    )


@contextmanager
def server_at(home: Path, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a Prefect server on PORT, which another one had before."""
    address = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    log = home / f"server-{os.urandom(3).hex()}.log"
    with beside(command, env=environment(home), log=log) as process:
        wait_for(lambda: _answers(address), timeout=90, what="Prefect's server")
        yield address, process


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=60).status_code == 200
    except httpx.TransportError:
        return False


def test_what_a_flow_says_and_does_is_printed_once_as_it_happens(
    flow_env: dict[str, str], tmp_path: Path
) -> None:
    with tailing(flow_env, tmp_path, "--deployment", "chatty", "--level", "debug") as tail:
        # Until it looks: what was before it began is not shown.
        wait_for(lambda: _begins(tail, flow_env), timeout=120, what="a tail that prints")
        run_flow("chatty.py", env=flow_env)
        expected = [f"Message {n}" for n in range(200)] + [f"Task message {n}" for n in range(50)]
        tail.wait_for(*expected, "It went wrong", "Done")
        last = tail.lines[-1]["run_id"]
        wait_for(lambda: ("Completed", None) in _states(tail, last), what="the run's end")
        ours = [line for line in tail.lines if line["run_id"] == last]
        assert Counter(line["message"] for line in ours if line["kind"] == "status") == Counter(
            [*expected, "It went wrong", "Done"]
        )
        assert set(Counter(_states(tail, last)).values()) == {1}
        assert {line["flow"] for line in tail.lines} == {"chatty"}
        assert {line["level"] for line in ours if line["message"] == "It went wrong"} == {"error"}
        tail.process.send_signal(signal.SIGINT)
        assert tail.process.wait(30) == 0
        assert tail.errors == ""


def _begins(tail: Tail, env: dict[str, str]) -> bool:
    assert tail.process.poll() is None, tail.errors
    run_flow("chatty.py", env=env)
    return bool(tail.lines)


def _states(tail: Tail, run_id: str) -> list[tuple[str, str | None]]:
    found = [line for line in tail.lines if line["run_id"] == run_id and line["kind"] == "state"]
    return [(line["state"], line["task"]) for line in found]


def test_a_restart_of_the_server_is_survived_and_what_was_missed_comes(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    env = environment(home, PREFECT_API_URL=f"http://127.0.0.1:{port}/api", PYTHONPATH=str(ROOT))
    with server_at(home, port) as (api, server), maker(api) as made:
        run_id = made.begin()
        made.say(run_id, "Before")
        tailed = tailing(env, tmp_path, "--deployment", made.flow, "--since", "10m")
        with tailed as tail:
            tail.wait_for("Before")
            end(server)
            wait_for(lambda: "cannot be reached" in tail.errors, timeout=60, what="the outage said")
            with server_at(home, port), maker(api):
                made.client.close()
                with httpx.Client(base_url=api, timeout=60) as client:
                    event = made.status(run_id, "After")
                    assert patient(client, "POST", "/events", json=[event]).is_success
                tail.wait_for("After")
                wait_for(lambda: "is back" in tail.errors, timeout=60, what="the return said")
                assert tail.said() == ["Before", "After"]
                assert tail.errors.count("cannot be reached") == 1
                assert tail.errors.count("is back") == 1
                tail.process.send_signal(signal.SIGTERM)
                assert tail.process.wait(30) == 0


def test_nobody_who_reads_ends_it_quietly(prefect_api: str, flow_env: dict[str, str]) -> None:
    with maker(prefect_api) as made:
        run_id = made.begin()
        made.say(run_id, "One", "Two")
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [*COMMAND, "--deployment", made.flow, "--since", "10m"],
            env=flow_env,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            os.close(writing)
            assert os.read(reading, 1)
            os.close(reading)
            # Without a further line: it finds out by itself.
            _, errors = process.communicate(timeout=60)
        finally:
            end(process, signal.SIGKILL)
        assert (process.returncode, errors) == (0, "")


def test_an_unknown_deployment_is_one_sentence(prefect_api: str, flow_env: dict[str, str]) -> None:
    with maker(prefect_api) as made:
        done = once("--deployment", f"{made.flow[:-1]}", env=flow_env)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"No deployment or flow is called '{made.flow[:-1]}'; ")
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_server_that_is_away_at_the_start_is_one_sentence(flow_env: dict[str, str]) -> None:
    done = once(env={**flow_env, "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_bad_duration_is_one_sentence(flow_env: dict[str, str]) -> None:
    done = once("--since", "soon", env=flow_env)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_shell_completes_names_of_the_server(
    prefect_api: str, flow_env: dict[str, str]
) -> None:
    with maker(prefect_api) as made:
        deployment = {"name": "prod", "flow_id": made.flow_id}
        assert patient(made.client, "POST", "/deployments/", json=deployment).is_success
        words = f"prefect-otel-status tail --deployment {made.flow[:-1]}"
        asked = {
            "_PREFECT_OTEL_STATUS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": "3",
        }

        def completed() -> str:
            # A busy server may need more than the second that it has.
            done = subprocess.run(
                COMMAND[:-1],
                env={**flow_env, **asked},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
            return done.stdout

        assert wait_for(completed, timeout=60, what="a name") == f"{made.flow}/prod\n"
