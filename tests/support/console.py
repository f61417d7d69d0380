"""The console blocks of the documentation: what they say, what is run of it, and how."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

_COMMENT = r"(?:^ *<!-- (?P<comment>[^\n]+) -->\n)?"
_CONSOLE = re.compile(
    _COMMENT + r"^(?P<indent> *)```console\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SCRIPT = re.compile(r"[\w-]+\.py\b")
_NOT_RUN = "not run: "
_EXITS = "exits with "

FLOW = """\
from prefect import flow


@flow
def score() -> float:
    return 0.93


if __name__ == "__main__":
    score()
"""
"""What a page runs of which it shows no code."""

SAID_HERE = {
    ("README.md", "make "): "it would run these tests from within",
    ("CONTRIBUTING.md", "make "): "it would run these tests from within",
    ("CONTRIBUTING.md", ".venv/bin/pytest"): "it would run these tests from within",
    ("README.md", "cp .env.example"): "needs Docker",
    ("README.md", "docker compose"): "needs Docker",
    ("README.md", "pip install"): "needs a clone; make wheel-test installs it",
    ("README.md", "export PREFECT_API_URL"): "the server of these tests is another",
    ("README.md", "prefect-otel-status bridge"): "reads and serves until it is stopped",
    ("README.md", "prefect-otel-status show"): "shows what that bridge wrote",
    ("README.md", "PREFECT_PLUGINS_ENABLED=1"): "is run of docs/how-to/zero-code.md",
    ("README.md", "opentelemetry-instrument"): "is run of docs/how-to/zero-code.md",
    ("docs/how-to/status-page.md", "prefect-otel-status bridge"): "serves until it is stopped",
    ("docs/how-to/terminal.md", "prefect-otel-status tail"): "goes on until it is stopped",
    ("docs/how-to/terminal.md", "prefect-otel-status"): "tests/integration runs each of them",
    ("docs/how-to/terminal.md", "source "): "is the shell's own",
}
"""Why commands are not run that have no comment before their block, by how they begin."""

IN_RUNBOOKS = {
    "amtool silence add ": "tests/monitoring/test_runbooks.py runs it",
    "amtool alert query ": "needs the stack's Alertmanager",
    "curl -s http://127.0.0.1:9090/": "needs the stack's Prometheus",
    "curl -s 'http://127.0.0.1:9090/": "needs the stack's Prometheus",
    "curl -s http://127.0.0.1:9093/": "needs the stack's Alertmanager",
    "docker compose ": "needs Docker",
    "kubectl ": "needs a cluster",
    "prefect worker start ": "works until it is stopped",
    "systemctl ": "needs systemd",
}
"""The same for runbooks: the bridge serves them as they are, to people who were woken."""


@dataclass(frozen=True)
class Command:
    """A command of a page: what is typed, what is printed, and why it is not run."""

    text: str
    output: tuple[str, ...] = ()
    reason: str = ""
    code: int = 0
    """The exit code that the page announces."""


@dataclass(frozen=True)
class Block:
    """A console block, with the last code in Python above it."""

    page: Path
    line: int
    commands: tuple[Command, ...]
    python: str

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def to_run(self) -> tuple[Command, ...]:
        return tuple(command for command in self.commands if not command.reason)

    @property
    def to_check(self) -> tuple[Command, ...]:
        return tuple(command for command in self.commands if command.reason)


@dataclass(frozen=True)
class Result:
    """What came of a command."""

    code: int
    output: tuple[str, ...]
    errors: str


def name_of(page: Path) -> str:
    """The path of PAGE in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> Iterator[Block]:
    """The console blocks of PAGE, those within lists too."""
    text = page.read_text(encoding="utf-8")
    for match in _CONSOLE.finditer(text):
        above = _PYTHON.findall(text, 0, match.start())
        yield Block(
            page=page,
            line=text.count("\n", 0, match.start("text")) + 1,
            commands=tuple(commands_of(name_of(page), match["text"], match["comment"] or "")),
            python=above[-1] if above else FLOW,
        )


def commands_of(page: str, text: str, comment: str = "") -> Iterator[Command]:
    """The commands of the block TEXT of PAGE, each with the lines below it as its output."""
    reason = comment.removeprefix(_NOT_RUN) if comment.startswith(_NOT_RUN) else ""
    code = int(comment.removeprefix(_EXITS)) if comment.startswith(_EXITS) else 0
    joined = re.sub(r" *\\\n *", " ", textwrap.dedent(text))
    for part in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        command, *output = part.splitlines()
        told = reason or _said_here(page, command)
        yield Command(command.strip(), tuple(output), told, code)


def _said_here(page: str, command: str) -> str:
    found = [
        why
        for (where, begin), why in SAID_HERE.items()
        if page == where and command.startswith(begin)
    ]
    if page.startswith("docs/runbooks/"):
        found += [why for begin, why in IN_RUNBOOKS.items() if command.startswith(begin)]
    return found[0] if found else ""


def run(
    blocks: Sequence[Block],
    folder: Path,
    env: Mapping[str, str],
    *,
    instead: Mapping[str, str],
    timeout: float = 100,
) -> list[tuple[Command, Result]]:
    """Run what is to be run of BLOCKS, in one shell in FOLDER; what is exported lasts.

    INSTEAD of addresses that a page names stand those of the test.
    """
    script: list[str] = []
    done: list[tuple[Command, str]] = []
    for block in blocks:
        for command in block.to_run:
            name = f"{len(done):02}"
            _lay(folder, name, command, block.python, instead)
            script.append(f". ./{name}.sh > {name}.out 2> {name}.err; echo $? > {name}.code")
            done.append((command, name))
    subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=folder, env=dict(env), timeout=timeout, check=False
    )
    return [(command, _result(folder, name)) for command, name in done]


def _lay(
    folder: Path, name: str, command: Command, python: str, instead: Mapping[str, str]
) -> None:
    text = command.text
    for old, new in instead.items():
        text = text.replace(old, new)
    # A page's code differs from block to block under one name: it is laid just before it is run.
    (folder / f"{name}.py.txt").write_text(python, encoding="utf-8")
    scripts = sorted({*_SCRIPT.findall(command.text), "flows/deploy.py"})
    laid = "".join(f"cp {name}.py.txt {script}\n" for script in scripts)
    (folder / "flows").mkdir(exist_ok=True)
    (folder / f"{name}.sh").write_text(f"{laid}{text}\n", encoding="utf-8")


def _result(folder: Path, name: str) -> Result:
    texts = {end: (folder / f"{name}.{end}") for end in ("code", "out", "err")}
    found = {end: path.read_text(encoding="utf-8") for end, path in texts.items() if path.exists()}
    return Result(
        int(found.get("code") or -1), tuple(found["out"].splitlines()), found.get("err", "")
    )
