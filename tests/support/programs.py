"""What can be known of a command without running it: that what it names exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from uuid import UUID

import click
import yaml
from typer.main import get_command

from prefect_otel_status.cli import app
from tests.support.console import ROOT

_CONTROL = {"|", "||", "&&", ";", "&", "(", ")"}
_ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
_STANDS_FOR_AN_ID = re.compile(r"\b(?:RUN|SCHEDULE)_ID\b")

PLAIN = frozenset(
    ["cat", "cd", "chmod", "cp", "curl", "grep", "head", "jq", "kill", "mkdir", "openssl", "rm"]
) | {"umask"}
"""Programs of which a page uses what everybody knows."""

UNKNOWN_HERE = {
    "mimirtool": "Mimir's",
    "vmalert": "VictoriaMetrics'",
    "systemctl": "the service manager's",
    "amtool": "Alertmanager's; tests/monitoring runs it",
    "promtool": "Prometheus'; tests/monitoring runs it",
    "python": "the page's own code",
    "docker": "Docker's own",
}
"""Programs whose options nothing here can look up."""


def problems(text: str) -> list[str]:
    """What of the command TEXT does not exist, as sentences; empty where nothing is wrong."""
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [done.stderr.strip()]
    typed = _STANDS_FOR_AN_ID.sub(str(UUID(int=1)), text)
    return [problem for words in simple_commands(typed) for problem in _of(words)]


def simple_commands(text: str) -> Iterator[list[str]]:
    """The commands of a line, without redirections and what is set before them."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in lexer:
        if word in _CONTROL:
            yield from [words] if words else []
            words = []
        elif word in (">", ">>", "<"):
            skip = True
        elif skip:
            skip = False
        elif words or not _ASSIGNED.match(word):
            words.append(word)
    yield from [words] if words else []


def _of(words: list[str]) -> list[str]:
    name, *rest = words
    if name == "docker" and rest[:1] == ["compose"]:
        return _of_compose(rest[1:])
    if name in PLAIN or name in UNKNOWN_HERE or name == "export":
        return []
    if name not in _CHECKS:
        return [f"Nothing here knows {name!r}: tell tests/support/programs.py how to check it."]
    return _CHECKS[name](rest)


def _of_ours(words: list[str]) -> list[str]:
    group: Any = get_command(app)
    name, *rest = words
    if name.startswith("-"):
        known = {option for parameter in group.params for option in parameter.opts}
        return [] if name in known else [f"prefect-otel-status has no {name}"]
    if name not in group.commands:
        return [f"prefect-otel-status has no command {name}"]
    try:
        group.commands[name].make_context(name, rest)
    except click.UsageError as error:
        return [f"prefect-otel-status {name}: {error.format_message()}"]
    except Exception as error:
        return [f"prefect-otel-status {name}: {error}"]
    return []


def _of_make(words: list[str]) -> list[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    return [f"make has no target {word}" for word in words if word not in targets]


@cache
def _prefect() -> Any:
    from prefect.cli._app import _app

    return _app


def _of_prefect(words: list[str]) -> list[str]:
    try:
        _prefect().parse_args(words, exit_on_error=False, print_error=False)
    except Exception as error:
        return [f"prefect {' '.join(words)}: {error}"]
    return []


@cache
def _compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


_COMPOSE = {"up", "down", "ps", "logs", "stop", "kill", "exec", "build", "restart", "config"}
_TAKES_A_VALUE = {"--tail"}


def _of_compose(words: list[str]) -> list[str]:
    services = _compose()["services"]
    profiles = {name for service in services.values() for name in service.get("profiles", [])}
    if words[:1] == ["--profile"]:
        unknown = [] if words[1] in profiles else [f"There is no profile {words[1]}"]
        return unknown + _of_compose(words[2:])
    command, *rest = words
    if command not in _COMPOSE:
        return [f"docker compose has no command {command}"]
    named = [
        word
        for before, word in zip(["", *rest], rest, strict=False)
        if not word.startswith("-") and before not in _TAKES_A_VALUE
    ]
    # Of `exec` the rest is a command in the container.
    named = named[:1] if command == "exec" else named
    return [f"There is no service {name}" for name in named if name not in services]


def _of_pip(words: list[str]) -> list[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (section,) = re.findall(r"^\[project\.optional-dependencies\]\n(.*?)^\[", text, re.M | re.S)
    known = set(re.findall(r"^(\w+) = ", section, re.MULTILINE))
    extras = {name for word in words for name in re.findall(r"\[(\w+)\]$", word)}
    return [f"There is no extra {name}" for name in sorted(extras - known)]


_KUBECTL = {"apply", "rollout", "port-forward", "get", "logs"}


def _of_kubectl(words: list[str]) -> list[str]:
    return [] if words[0] in _KUBECTL else [f"kubectl has no command {words[0]}"]


_CHECKS: dict[str, Callable[[list[str]], list[str]]] = {
    "prefect-otel-status": _of_ours,
    "make": _of_make,
    "prefect": _of_prefect,
    "pip": _of_pip,
    "kubectl": _of_kubectl,
    "opentelemetry-instrument": _of,
    ".venv/bin/pytest": lambda words: [],
}
