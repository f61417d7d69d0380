"""The command line: what it prints where, and how it exits."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from prefect_otel_status import __version__, cli, trees
from prefect_otel_status.bridge import outbox
from prefect_otel_status.bridge.outbox import Cap, OutboxItem
from prefect_otel_status.bridge.store import open_store
from tests.support.records import NOW

OURS = "from prefect_otel_status import status\n"
RUN_ID = "3f0e0b5e-8a52-4c0f-9f0c-1b7f0a1d2c3e"
FIELD = "field '{x}' stays as written; pass x=..., or double the braces if they are text"

runner = CliRunner()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings and no colours of whoever runs the tests."""
    for name in os.environ:
        if name.startswith("PREFECT_OTEL_STATUS_") or name in ("FORCE_COLOR", "NO_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one finding, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = Path("flow.py")
    path.write_text(f"{OURS}status('{{x}}', stage='test')\n")
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command with ARGUMENTS."""
    result = runner.invoke(cli.app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


# --- lint --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ((), f"flow.py:2:8: POS006 {FIELD}\n"),
        (("--format", "text"), f"flow.py:2:8: POS006 {FIELD}\n"),
        (
            ("--format", "github"),
            f"::error file=flow.py,line=2,col=8,title=POS006::{FIELD}\n",
        ),
    ],
)
def test_lint_prints_findings_whole_and_exits_with_1(
    flow: Path, options: tuple[str, ...], output: str
) -> None:
    assert run("lint", str(flow), *options) == (1, output, "")


def test_lint_prints_json(flow: Path) -> None:
    code, output, errors = run("lint", ".", "--format", "json")
    finding = {"path": "flow.py", "line": 2, "column": 8, "code": "POS006", "message": FIELD}
    assert (code, json.loads(output), errors) == (1, [finding], "")


@pytest.mark.parametrize(("style", "output"), [("text", ""), ("github", ""), ("json", "[]\n")])
def test_lint_says_nothing_of_clean_code_and_exits_with_0(
    flow: Path, style: str, output: str
) -> None:
    flow.write_text(f"{OURS}status('Done')\n")
    assert run("lint", ".", "--format", style) == (0, output, "")


def test_lint_takes_the_rules_from_the_settings(
    flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.write_text(f"{OURS}status('Done', stage='test', level='info')\n")
    monkeypatch.setenv("PREFECT_OTEL_STATUS_STAGES", "evaluate")
    monkeypatch.setenv("PREFECT_OTEL_STATUS_LEVELS", "quiet,loud")
    monkeypatch.setenv("PREFECT_OTEL_STATUS_MESSAGE_LENGTH", "3")
    assert run("lint", ".") == (
        1,
        "flow.py:2:8: POS004 the template has 4 characters, 3 are allowed; "
        "shorten it and pass the details as keyword attributes\n"
        "flow.py:2:22: POS002 stage 'test' is not allowed; use one of 'evaluate'\n"
        "flow.py:2:36: POS003 level 'info' is not known; use one of 'quiet', 'loud'\n",
        "",
    )


@pytest.mark.parametrize(("stages", "exit_code"), [("evaluate, test", 0), ("evaluate", 1), ("", 0)])
def test_lint_takes_other_stages_than_those_of_the_settings(
    flow: Path, monkeypatch: pytest.MonkeyPatch, stages: str, exit_code: int
) -> None:
    flow.write_text(f"{OURS}status('Done', stage='test')\n")
    monkeypatch.setenv("PREFECT_OTEL_STATUS_STAGES", "promote")
    assert run("lint", ".", "--stages", stages)[0] == exit_code


def test_lint_names_a_path_that_does_not_exist(flow: Path) -> None:
    sentence = "There is no file or folder 'missing.py'.\n"
    assert run("lint", str(flow), "missing.py") == (2, "", sentence)


def test_lint_names_a_folder_that_cannot_be_listed(
    flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", "locked")

    # Root may read everything, so the refusal is played.
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert run("lint", ".") == (2, "", "locked cannot be read: Permission denied.\n")


@pytest.mark.parametrize("command", [("lint", "."), ("show",)])
def test_a_bad_setting_is_one_sentence(
    flow: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PREFECT_OTEL_STATUS_QUEUE_SIZE", "many")
    code, output, errors = run(*command)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("Bad setting: PREFECT_OTEL_STATUS_QUEUE_SIZE: ")


@pytest.mark.parametrize("arguments", [("lint",), ("lint", ".", "--format", "xml"), ("nothing",)])
def test_wrong_usage_exits_with_2(flow: Path, arguments: tuple[str, ...]) -> None:
    code, output, errors = run(*arguments)
    assert (code, output) == (2, "")
    assert "Usage: prefect-otel-status" in Text.from_ansi(errors).plain


def test_colours_are_for_terminals(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(
        cli, "Console", lambda: Console(file=terminal, color_system="standard", force_terminal=True)
    )
    assert run("lint", str(flow))[0] == 1
    assert terminal.getvalue() == f"flow.py:2:8: \x1b[1;31mPOS006\x1b[0m {FIELD}\n"


# --- trace-id ----------------------------------------------------------------


@pytest.mark.parametrize(
    "run_id",
    [RUN_ID, RUN_ID.upper(), RUN_ID.replace("-", ""), f"{{{RUN_ID}}}", f"urn:uuid:{RUN_ID}\n"],
)
def test_trace_id_is_that_of_the_run_in_whatever_form(run_id: str) -> None:
    expected = sha256(RUN_ID.encode()).hexdigest()[:32]
    assert run("trace-id", run_id) == (0, f"{expected}\n", "")


@pytest.mark.parametrize("run_id", ["", "happy-otter", RUN_ID[:-1], "[red]"])
def test_trace_id_of_no_run_is_a_mistake(run_id: str) -> None:
    sentence = f"{run_id!r} is not a run id; copy the UUID that Prefect shows for the flow run.\n"
    assert run("trace-id", run_id) == (2, "", sentence)


# --- show --------------------------------------------------------------------


def no_telemetry(path: Path) -> str:
    return f"There is no {path}; name a folder into which flows wrote their telemetry.\n"


def test_show_names_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert run("show", str(missing)) == (2, "", no_telemetry(missing))


def test_show_names_the_file_that_a_folder_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_OTEL_STATUS_FOLDER", str(tmp_path))
    assert run("show") == (2, "", no_telemetry(tmp_path / "traces.jsonl"))


def test_show_hands_the_folder_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "traces.jsonl").touch()
    shown: list[Path] = []
    monkeypatch.setattr(trees, "show", lambda folder, console: shown.append(folder))
    assert run("show", str(tmp_path)) == (0, "", "")
    assert shown == [tmp_path]


def test_show_names_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, console: Console) -> None:
        raise PermissionError(13, "Permission denied", "traces.jsonl")

    (tmp_path / "traces.jsonl").touch()
    monkeypatch.setattr(trees, "show", refuse)
    sentence = "traces.jsonl cannot be read: Permission denied.\n"
    assert run("show", str(tmp_path)) == (2, "", sentence)


# --- the whole ---------------------------------------------------------------


def test_the_version_is_shown() -> None:
    assert run("--version") == (0, f"prefect-otel-status {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "examples"),
    [
        (["--help"], [f"prefect-otel-status trace-id {RUN_ID}"]),
        (["lint", "--help"], ["prefect-otel-status lint deploy.py --stages evaluate,promote"]),
        (["trace-id", "--help"], [f"prefect-otel-status trace-id {RUN_ID}"]),
        (["show", "--help"], ["prefect-otel-status show", "prefect-otel-status show telemetry/"]),
    ],
)
def test_help_has_examples(arguments: list[str], examples: list[str]) -> None:
    code, output, errors = run(*arguments)
    assert (code, errors) == (0, "")
    # In lines of their own, as they are to be typed. Typer colours its help in CI.
    assert set(examples) <= {line.strip() for line in Text.from_ansi(output).plain.splitlines()}


@pytest.mark.parametrize("make", [io.StringIO, lambda: io.TextIOWrapper(io.BytesIO(), "ascii")])
def test_main_runs_the_app_under_its_name(
    make: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    stream = make()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(cli, "app", lambda prog_name: names.append(prog_name))
    cli.main()
    assert names == ["prefect-otel-status"]
    assert isinstance(stream, io.StringIO) or stream.errors == "backslashreplace"


@pytest.mark.skipif(sys.platform != "linux", reason="only there may names be any bytes")
def test_what_the_output_cannot_say_is_escaped(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xc3\xa9.py"
    with open(name, "w") as file:
        file.write(f"{OURS}status('{{x}}')\n")
    done = subprocess.run(
        [sys.executable, "-c", "from prefect_otel_status.cli import main; main()", "lint", name],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    place = f"{tmp_path}/\\udcff\\xe9.py:2:8"
    assert (done.returncode, done.stdout.decode()) == (1, f"{place}: POS006 {FIELD}\n")
    assert done.stderr == b""


def test_help_does_not_wait_for_the_settings() -> None:
    code = "import sys, prefect_otel_status.cli; print({'prefect', 'pydantic'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# --- bridge ------------------------------------------------------------------


SECRET = "hunter22"
AWAY = "http://127.0.0.1:1/api"  # a port that nobody listens on


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a bridge whose server is away, with secrets of every kind in its settings."""
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "OTEL_")):
            monkeypatch.delenv(name)
    for name, value in {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": AWAY,
        "PREFECT_API_KEY": f"pnu_{SECRET}",
        "PREFECT_API_AUTH_STRING": f"admin:{SECRET}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
        "PREFECT_OTEL_STATUS_FOLDER": str(tmp_path / "state"),
    }.items():
        monkeypatch.setenv(name, value)
    loggers = [logging.getLogger(name) for name in (None, "prefect_otel_status")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield tmp_path / "state"
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def one_line(text: str) -> str:
    """The only line of TEXT, without the time that the log puts before it."""
    (line,) = text.splitlines()
    return re.sub(r"^\d\d:\d\d:\d\d ", "", line)


def test_the_help_of_bridge_has_examples_and_exit_codes() -> None:
    code, output, _ = run("bridge", "--help")
    words = " ".join(output.split())
    assert code == 0
    assert "prefect-otel-status bridge --once --backfill 7d" in words
    assert "with 3 if the server cannot be read" in words
    for option in ("--store", "--listen", "--backfill", "--once", "--log-format", "--set-aside"):
        assert option in output


def test_a_server_that_cannot_be_reached_is_one_sentence_and_exit_code_3(beside: Path) -> None:
    code, output, errors = run("bridge", "--once")
    said = [line for line in errors.splitlines() if "ERROR" in line]
    assert (code, output, len(said)) == (3, "", 1)
    assert "Prefect's server at http://127.0.0.1:1 cannot be reached" in said[0]
    assert "Traceback" not in errors
    assert SECRET not in errors


def test_the_log_of_a_bridge_can_be_json(beside: Path) -> None:
    code, _, errors = run("bridge", "--once", "--log-format", "json")
    lines = [json.loads(line) for line in errors.splitlines()]
    assert code == 3
    assert [line["level"] for line in lines] == ["INFO", "ERROR"]
    assert lines[0]["message"] == f"No OTLP endpoint is set: traces go to {beside}."
    assert SECRET not in errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--listen", "127.0.0.1:70000"), "'127.0.0.1:70000' has no port from 0 to 65535"),
        (("--listen", "0.0.0.0:9464"), "allow it with --allow-public"),
        (("--backfill", "ages"), "PREFECT_OTEL_STATUS_BACKFILL: 'ages' is no duration"),
        (("--backfill", "-1h"), "PREFECT_OTEL_STATUS_BACKFILL"),
        (("--once", "--store", f"mysql://a:{SECRET}@db/b"), "The store cannot be mysql"),
        (("--once", "--store", "/proc/nowhere/bridge.db"), "The store /proc/nowhere/bridge.db"),
        (
            ("--once", "--store", f"postgresql://a:{SECRET}@127.0.0.1:1/b"),
            "127.0.0.1:1/b cannot be",
        ),
        (("--release",), "--release goes with --set-aside."),
        (("--set-aside", "--store", f"mysql://a:{SECRET}@db/b"), "The store cannot be mysql"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    beside: Path, options: tuple[str, ...], words: str
) -> None:
    code, output, errors = run("bridge", *options)
    assert (code, output) == (2, "")
    assert words in one_line(errors)
    assert SECRET not in errors


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "PREFECT_API_URL",
            f"http://a:{SECRET}@b/api",
            "PREFECT_API_URL must not hold a user name",
        ),
        ("PREFECT_API_URL", "", "Set PREFECT_API_URL"),
        ("OTEL_TRACES_SAMPLER", "mine", "OTEL_TRACES_SAMPLER: 'mine' is not known here"),
        ("PREFECT_OTEL_STATUS_SETTLE", "-1", "PREFECT_OTEL_STATUS_SETTLE"),
        ("PREFECT_OTEL_STATUS_TRACE_ROOT", "nobody", "PREFECT_OTEL_STATUS_TRACE_ROOT"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_exit_code_2(
    beside: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    code, output, errors = run("bridge", "--once")
    assert (code, output) == (2, "")
    assert words in one_line(errors)
    assert SECRET not in errors


def test_what_was_set_aside_is_listed_and_put_back(beside: Path) -> None:
    assert run("bridge", "--set-aside") == (0, "", "Nothing is set aside.\n")
    asyncio.run(_set_aside(str(beside / "bridge.db")))
    line = "1\t2023-11-14T22:13:20.000000Z\ttraces\tRUN train\tHTTP 400: bad\n"
    assert run("bridge", "--set-aside") == (0, line, "1 set aside.\n")
    released = run("bridge", "--set-aside", "--release")
    assert released == (0, line, "1 set aside, now put back.\n")
    assert run("bridge", "--set-aside") == (0, "", "Nothing is set aside.\n")


async def _set_aside(path: str) -> None:
    """Have the item `RUN train` refused."""
    store = await open_store(path, now=NOW)
    item = OutboxItem("traces", True, NOW, "RUN train", b"body")
    await store.run(lambda connection: outbox.put(connection, [item], cap=Cap(), now=NOW))
    await store.run(
        lambda connection: outbox.set_aside(connection, [1], "HTTP 400: bad", cap=Cap())
    )
    await store.close()


def test_the_package_is_the_command(beside: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect_otel_status", "bridge", "--once"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


# --- render ------------------------------------------------------------------


def test_what_was_rendered_is_found_the_same_until_it_is_changed(tmp_path: Path) -> None:
    out = str(tmp_path / "dashboards")
    code, stdout, stderr = run("render", "--out", out)
    assert (code, stderr) == (0, "")
    assert f"{out}/prometheus/alerts.yml written" in stdout.splitlines()
    assert run("render", "--out", out, "--check") == (0, "", "")
    (tmp_path / "dashboards" / "prometheus" / "alerts.yml").write_text("changed")
    assert run("render", "--out", out, "--check") == (
        1,
        f"{out}/prometheus/alerts.yml differs\n",
        "",
    )


def test_links_and_objectives_are_taken_into_the_rules(tmp_path: Path) -> None:
    options = ("--grafana", "https://g.example/", "--objective", "deploy-model/prod=0.99")
    assert run("render", "--out", str(tmp_path), *options)[0] == 0
    alerts = (tmp_path / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    assert "dashboard_url: https://g.example/d/prefect-health" in alerts
    recorded = (tmp_path / "prometheus" / "recording.yml").read_text(encoding="utf-8")
    assert "0.99" in recorded


@pytest.mark.parametrize("objective", ["0.99", "a/b", "a/b=none", "a/b=99", "a/b=1"])
def test_an_objective_that_is_none_is_refused_in_a_sentence(tmp_path: Path, objective: str) -> None:
    code, stdout, stderr = run("render", "--out", str(tmp_path), "--objective", objective)
    assert (code, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1
    assert "Traceback" not in stderr
