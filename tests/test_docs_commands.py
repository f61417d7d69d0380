"""Commands in the documentation: each is run, or its page says why not and it is checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import console
from tests.support.bridge import Bridge
from tests.support.console import Block, Command, Result, name_of
from tests.support.nightly import Nightly, a_nightly_deployment
from tests.support.processes import program
from tests.support.programs import problems
from tests.support.receiver import Received
from tests.support.server import wait_for

BLOCKS = [block for page in console.PAGES for block in console.blocks_of(page)]
RUNBOOKS = console.DOCS / "runbooks"
HINT = "What cannot be run here has `<!-- not run: why -->` before its block; then it is checked."


def _to_run(*, runbooks: bool) -> list[Path]:
    found = {block.page for block in BLOCKS if block.to_run}
    return sorted(page for page in found if (page.parent == RUNBOOKS) is runbooks)


def _with_bin(env: dict[str, str]) -> dict[str, str]:
    return {**env, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"}


def _of(page: Path) -> list[Block]:
    return [block for block in BLOCKS if block.page == page]


def _judge(done: Sequence[tuple[Command, Result]]) -> None:
    assert done
    for command, result in done:
        told = "\n".join([HINT, f"$ {command.text}", *result.output, result.errors])
        assert result.code == command.code, told
        assert command.output in ((), result.output), told
        assert "Status telemetry" not in result.errors, told  # so begin our own failures
        # A pipe ends as its last part does, whatever the first one got.
        assert result.output or not _asks(command), told


def _asks(command: Command) -> bool:
    return command.text.startswith("curl ") and "select(" not in command.text


@pytest.mark.server
@pytest.mark.parametrize("page", _to_run(runbooks=False), ids=name_of)
def test_what_a_page_tells_to_type_works(
    page: Path, flow_env: dict[str, str], received: Received, tmp_path: Path
) -> None:
    instead = {
        "http://127.0.0.1:4200/api": flow_env["PREFECT_API_URL"],
        "http://127.0.0.1:4317": received.endpoint,
        "http://localhost:4317": received.endpoint,
    }
    _judge(console.run(_of(page), tmp_path, _with_bin(flow_env), instead=instead))


@pytest.mark.long
@pytest.mark.server
@pytest.mark.timeout(600)
def test_what_the_runbooks_tell_to_type_works(flow_env: dict[str, str], tmp_path: Path) -> None:
    program("jq")
    nightly = a_nightly_deployment(flow_env)
    bridge = Bridge(flow_env, tmp_path / "bridge")
    bridge.start()
    try:
        wait_for(lambda: bridge.ask("/readyz") is not None, what="the bridge")
        for page in _to_run(runbooks=True):
            _judge(_run_runbook(page, tmp_path / page.stem, flow_env, bridge, nightly))
    finally:
        bridge.end()


def _run_runbook(
    page: Path, folder: Path, env: dict[str, str], bridge: Bridge, nightly: Nightly
) -> list[tuple[Command, Result]]:
    folder.mkdir()
    instead = {
        "http://127.0.0.1:9464": bridge.address,
        "http://127.0.0.1:4200/api": env["PREFECT_API_URL"],
        "cancel RUN_ID": f"cancel {nightly.running_run(env)}",
        "RUN_ID": nightly.ended_run,
        "SCHEDULE_ID": nightly.schedule(env),
    }
    return console.run(_of(page), folder, _with_bin(env), instead=instead, timeout=300)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.to_check], ids=lambda block: block.place
)
def test_what_is_not_run_names_only_what_exists(block: Block) -> None:
    assert [problem for command in block.to_check for problem in problems(command.text)] == []


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.to_run and block.page.parent == RUNBOOKS],
    ids=lambda block: block.place,
)
def test_what_is_run_only_at_leisure_names_only_what_exists(block: Block) -> None:
    assert [problem for command in block.to_run for problem in problems(command.text)] == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("prefect-otel-status brige", "prefect-otel-status has no command brige"),
        ("prefect-otel-status bridge --ones", "prefect-otel-status bridge: No such option: --ones"),
        ("make tests", "make has no target tests"),
        ("make check && make tests", "make has no target tests"),
        ("docker compose logs jagger", "There is no service jagger"),
        ("docker compose --profile hooks up -d", "There is no profile hooks"),
        ("PREFECT_X=1 prefect flow-run lss", 'prefect flow-run lss: Unknown command "lss".'),
        ("pip install 'prefect-otel-status[montoring]'", "There is no extra montoring"),
        ("frobnicate", "Nothing here knows 'frobnicate'"),
        ("echo 'open", "bash: -c: line"),
    ],
)
def test_what_does_not_exist_is_found(command: str, problem: str) -> None:
    (found,) = problems(command)
    assert found.startswith(problem)


def test_a_block_is_read_with_its_outputs_and_its_reason() -> None:
    text = "   $ make one \\\n       two\n   done\n   well\n   $ make three\n"
    assert list(console.commands_of("page.md", text, "not run: because")) == [
        Command("make one two", ("done", "well"), "because"),
        Command("make three", (), "because"),
    ]
    assert list(console.commands_of("page.md", "$ lint\nfound\n", "exits with 1")) == [
        Command("lint", ("found",), "", 1)
    ]


def test_a_command_that_fails_or_prints_something_else_is_seen(tmp_path: Path) -> None:
    commands = (
        Command("export WHAT=this"),
        Command("echo $WHAT", ("that",)),
        Command("no-such-program"),
    )
    block = Block(Path("page.md"), 1, commands, console.FLOW)
    done = console.run([block], tmp_path, dict(os.environ), instead={})
    assert [(result.code, result.output) for _, result in done] == [
        (0, ()),
        (0, ("this",)),
        (127, ()),
    ]
    for command, result in done[1:]:
        with pytest.raises(AssertionError):
            _judge([(command, result)])
