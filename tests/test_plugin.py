"""Prefect's plugin instruments the process, unless somebody else is about to."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest

from prefect_otel_status import instrumentation, plugin

SCRIPT = """
from prefect_otel_status import plugin
plugin.setup_environment(ctx=None)
from prefect import flow
print(*(hook.__name__ for hook in flow(lambda: None, name="made").on_running_hooks))
"""


def test_it_is_found_under_prefects_entry_point() -> None:
    (found,) = entry_points(group="prefect.plugins", name="otel-status")
    assert found.load() is plugin


def test_it_is_called_as_prefect_calls_it() -> None:
    assert getattr(plugin.setup_environment, "prefect-experimental_impl")
    assert plugin.hookimpl.project_name == "prefect-experimental"


def test_it_instruments_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "prefect_otel_status\n"


def test_it_instruments_a_process_in_which_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(instrumentation, "instrument", lambda: calls.append("instrumented"))
    monkeypatch.setattr(plugin, "sys", SimpleNamespace(modules={}))
    plugin.setup_environment(ctx=None)
    assert calls == ["instrumented"]


def test_while_the_instrumentation_is_being_imported_it_leaves_that_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(instrumentation, "instrument", lambda: calls.append("instrumented"))
    plugin.setup_environment(ctx=None)
    assert calls == []
