"""The README's commands for the bridge, as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, run_flow
from tests.support.processes import beside
from tests.support.server import free_port, wait_for

# Each waits for several real processes, on machines that have other things to do.
pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

SECTION = "## Every run, without touching your flows"


def _commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index(SECTION) :]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [line.removeprefix("$ ") for line in block[1].splitlines()]


def test_the_commands_draw_what_ran_before_and_go_on(
    flow_env: dict[str, str], tmp_path: Path
) -> None:
    once, show, forever = _commands()
    port = free_port()
    env = {
        **flow_env,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_OTEL_STATUS_LISTEN": f"127.0.0.1:{port}",
        "PREFECT_OTEL_STATUS_SETTLE": "1",
    }
    run_flow("plain.py", env=flow_env)
    drawn = _run(once, env)
    assert drawn.returncode == 0, drawn.stderr
    assert "RUN plain" in _run(show, env).stdout
    with beside(forever.split(), env=env, log=tmp_path / "bridge.log") as process:
        wait_for(lambda: _is_ready(port), timeout=60, what="the bridge")
        page = _page(port, "/")
        assert re.search(r'href="/deployments\?flow=plain&amp;deployment="', page)
        deployment = _page(port, "/deployments?flow=plain&deployment=")
        run = re.search(r'href="(/runs/[0-9a-f-]{36})"', deployment)
        assert run is not None
        assert "RUN plain" in _page(port, run[1])
        with httpx.stream("GET", f"http://127.0.0.1:{port}/live", timeout=60) as live:
            assert next(live.iter_lines()).startswith("retry:")
            process.terminate()  # a page that is open does not keep it
            assert process.wait(30) == 0


def _run(command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command.split(), env=env, capture_output=True, text=True, timeout=100, check=False
    )


def _page(port: int, path: str) -> str:
    headers = {"Accept": "text/html"}
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=60).text


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
    except httpx.TransportError:
        return False
