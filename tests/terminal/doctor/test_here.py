"""What is checked of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefect_otel_status.settings import Settings
from prefect_otel_status.terminal.doctor import here
from prefect_otel_status.terminal.doctor.check import FAILED, OK, WARNING, Finding


async def of(name: str, environ: dict[str, str], **settings: object) -> Finding:
    found = {check.name: check for check in here.checks(Settings(**settings), environ)}  # type: ignore[arg-type]
    return await found[name].look()


async def test_settings_are_named_and_never_their_values() -> None:
    given = {"PREFECT_OTEL_STATUS_STORE": "postgresql://a:hunter2@b/c"}
    assert await of("settings", given) == Finding(OK, "PREFECT_OTEL_STATUS_STORE")
    assert (await of("settings", {})).found == "none are set: the defaults hold"


async def test_a_setting_that_nothing_reads_is_a_warning() -> None:
    found = await of("settings", {"PREFECT_OTEL_STATUS_STAGE": "x"})
    assert found == Finding(
        WARNING, "nothing reads PREFECT_OTEL_STATUS_STAGE", "Correct or unset them."
    )


async def test_telemetry_that_is_off_is_a_warning() -> None:
    assert (await of("settings", {}, enabled=False)).outcome == WARNING


async def test_versions_are_told() -> None:
    found = await of("versions", {})
    assert found.outcome == OK
    assert "prefect 3." in found.found


async def test_a_release_that_breaks_the_server_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(here, "version", lambda name: "2.1.9" if name == "sqlalchemy" else "0.1")
    found = await of("versions", {})
    assert found.outcome == WARNING
    assert found.advice == "Prefect's server schedules no runs with SQLAlchemy 2.1: `<2.1`."


@pytest.mark.parametrize(("value", "words"), [("1", "and is on here"), ("", "it is not set here")])
async def test_the_plugin_is_loaded_in_a_process_of_its_own(
    tmp_path: Path, value: str, words: str
) -> None:
    environ = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_PLUGINS_ENABLED": value}
    found = await of("plugin", environ)
    assert found.outcome == OK
    assert found.found.endswith(words)


async def test_a_process_without_the_plugin_is_a_failure(tmp_path: Path) -> None:
    environ = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_OTEL_STATUS_ENABLED": "false"}
    found = await of("plugin", environ)
    assert found == Finding(FAILED, "a process with it on was not instrumented (exit code 9)")
