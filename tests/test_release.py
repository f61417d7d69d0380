"""What a release is made by: a wheel that anybody can build again, and a workflow without keys."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
PARTS = ("prefect_otel_status", "docs/runbooks")
FILES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")


def _copy(to: Path) -> Path:
    for part in PARTS:
        shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, to / name)
    return to


def _wheel(source: Path, out: Path, **env: str) -> str:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)]
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_a_wheel_is_the_same_wherever_it_is_built(tmp_path: Path) -> None:
    """Also where files have other times, and the builder another time zone."""
    digests = []
    for name, zone in (("one", "UTC"), ("two", "Asia/Tokyo")):
        source = _copy(tmp_path / name)
        for path in source.rglob("*.py"):
            os.utime(path, (1_000_000_000 + len(name), 1_000_000_000 * len(zone) % 2**31))
        digests.append(_wheel(source, tmp_path / f"{name}-out", SOURCE_DATE_EPOCH="1", TZ=zone))
    assert digests[0] == digests[1]


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return found


def test_the_workflow_holds_no_key_and_has_no_more_rights_than_it_needs(
    workflow: dict[str, Any],
) -> None:
    assert "secrets." not in WORKFLOW.read_text(encoding="utf-8")
    assert workflow["permissions"] == {}
    jobs = workflow["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "write" not in jobs["build"]["permissions"]["contents"]


def test_what_is_published_was_checked_audited_and_attested(workflow: dict[str, Any]) -> None:
    steps = workflow["jobs"]["build"]["steps"]
    commands = " ".join(step.get("run", "") for step in steps)
    assert "make check audit" in commands
    assert "make sbom" in commands
    assert any("attest-build-provenance" in step.get("uses", "") for step in steps)
    assert workflow["jobs"]["publish"]["needs"] == "build"
