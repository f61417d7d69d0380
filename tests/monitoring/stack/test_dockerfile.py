"""What must hold of the image. No engine can build it here, so its file is read."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch

import pytest

from tests.monitoring.stack.compose import ROOT, services

Step = tuple[str, str]
"""An instruction and the rest of its line."""


def _stages() -> list[list[Step]]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = filter(None, re.sub(r"\\\n\s*", " ", text).splitlines())
    stages: list[list[Step]] = []
    for name, _, rest in (line.strip().partition(" ") for line in lines):
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, rest))
    return stages


BUILD, FINAL = _stages()


def _of(stage: list[Step], name: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def test_both_stages_are_slim() -> None:
    assert _of(BUILD, "FROM") == ["python:3.12-slim AS build"]
    assert _of(FINAL, "FROM") == ["python:3.12-slim"]


def test_who_runs_is_a_number_and_not_root() -> None:
    assert _of(FINAL, "USER") == ["10001:10001"]
    assert FINAL[-1][0] == "CMD"


def test_nothing_is_installed_or_compiled_in_the_final_stage() -> None:
    commands = " ".join(_of(FINAL, "RUN"))
    assert not re.search(r"apt|pip|\buv\b|gcc|make\b|curl|wget", commands)


def test_every_dependency_is_a_wheel_with_the_locks_hash() -> None:
    commands = " ".join(_of(BUILD, "RUN"))
    assert "cp requirements.lock runtime.lock" in commands
    assert "--constraint requirements.lock" in commands
    assert "--require-hashes --only-binary :all:" in commands
    assert commands.count("uv pip install") == commands.count("--require-hashes") + commands.count(
        "--no-deps"
    )


def test_what_is_copied_is_there_and_not_ignored() -> None:
    own = [rest for stage in (BUILD, FINAL) for rest in _of(stage, "COPY") if "--from" not in rest]
    sources = [source for rest in own for source in rest.split()[:-1]]
    assert sorted(sources) == [
        "LICENSE",
        "README.md",
        "docs/runbooks",
        "examples",
        "prefect_otel_status",
        "pyproject.toml",
        "requirements.lock",
    ]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if _is_ignored(source)] == []


@pytest.mark.parametrize(
    "path", [".env", ".git", "tests", "docs/index.md", "dashboards", "examples/__pycache__"]
)
def test_what_does_not_belong_into_the_image_is_ignored(path: str) -> None:
    assert _is_ignored(path)


def _is_ignored(path: str) -> bool:
    """Whether the last line of `.dockerignore` that matches PATH, or a folder above, says so."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    ignored = False
    parts = path.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    for line in filter(lambda line: line and line[0] != "#", lines):
        pattern = line.lstrip("!").removeprefix("**/")
        names = above if "/" in pattern else [*above, *parts[1:]] if "**" in line else above
        if any(fnmatch(name, pattern) and name.count("/") == pattern.count("/") for name in names):
            ignored = line[0] != "!"
    return ignored


def test_health_is_asked_for_as_compose_does() -> None:
    (check,) = _of(FINAL, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert ["CMD", *command] == services()["bridge"]["healthcheck"]["test"]


def test_what_is_written_goes_to_the_volume() -> None:
    (volume,) = _of(FINAL, "VOLUME")
    (environment,) = _of(FINAL, "ENV")
    assert f"PREFECT_OTEL_STATUS_FOLDER={volume}" in environment
    assert f"HOME={volume}" in environment
