"""The compose file as a test reads it, and what `docker-compose` says of it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import program

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
PROFILES = ("webhook", "logs", "ha")
STACKS = ("single", "ha")

_VARIABLE = re.compile(r"\$\{(\w+)")
_DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")


def compose() -> dict[str, Any]:
    """The file, with its anchors filled in and its variables left."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def services() -> dict[str, dict[str, Any]]:
    """Its services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def variables_used() -> set[str]:
    """The names of the variables that it is given."""
    lines = FILE.read_text().splitlines()
    return {name for line in lines if not line.lstrip().startswith("#") for name in _names(line)}


def _names(line: str) -> list[str]:
    return _VARIABLE.findall(line)


def example() -> dict[str, str]:
    """The variables of `.env.example`."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def filled(text: str, *, stack: str) -> str:
    """TEXT with `STACK` as STACK, and the defaults of all other variables."""
    return _DEFAULT.sub(lambda found: found[1], text.replace("${STACK:-single}", stack))


def config(
    folder: Path, env: Mapping[str, str], *profiles: str
) -> subprocess.CompletedProcess[str]:
    """What `docker-compose config -q` says, with the variables ENV and no others."""
    env_file = folder / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    command = [program("docker-compose"), "-f", str(FILE), "--env-file", str(env_file)]
    for profile in profiles:
        command += ["--profile", profile]
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        [*command, "config", "-q"], capture_output=True, text=True, check=False, env=clean
    )


def profile_sets() -> list[tuple[str, ...]]:
    """Every choice of profiles."""
    sizes = range(len(PROFILES) + 1)
    return list(chain.from_iterable(combinations(PROFILES, size) for size in sizes))


def mounts(service: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The volumes of SERVICE: source, target, mode."""
    for volume in service.get("volumes", ()):
        source, target, *mode = volume.split(":") if "${" not in volume else _split(volume)
        yield source, target, "".join(mode)


def _split(volume: str) -> list[str]:
    return re.split(r":(?![^{]*\})", volume)
