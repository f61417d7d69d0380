"""`make demo` on a terminal: it ends with the page open, until Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.support.server import wait_for

pytestmark = [pytest.mark.server, pytest.mark.long, pytest.mark.timeout(400)]


class Screen:
    """A terminal of a process, and what it wrote there."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self._said: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self.ours, 4096):
                self._said.append(part)
        except OSError:  # the other end is gone
            return

    @property
    def text(self) -> str:
        return b"".join(self._said).decode("utf-8", "replace")


def test_the_page_is_open_until_ctrl_c(tmp_path: Path) -> None:
    screen = Screen()
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.deploy_model.demo"],
        cwd=tmp_path,
        env=env,
        stdin=screen.theirs,
        stdout=screen.theirs,
        stderr=screen.theirs,
    )
    try:
        page = wait_for(lambda: _page(screen, process), timeout=300, what="the page's address")
        shown = wait_for(lambda: _shows_the_killed_run(page), timeout=60, what="the killed run")
        assert "The page of the bridge" in screen.text
        assert shown
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(page, timeout=10)


def _page(screen: Screen, process: subprocess.Popen[bytes]) -> str | None:
    assert process.poll() is None, screen.text[-3000:]
    found = re.search(r"The page of the bridge: .*?(http://127\.0\.0\.1:\d+)", screen.text)
    return found[1] if found else None


def _shows_the_killed_run(page: str) -> bool:
    answer = httpx.get(page, headers={"Accept": "text/html"}, timeout=60)
    return "deploy-model/demo" in answer.text and "failing" in answer.text
