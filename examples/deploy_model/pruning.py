"""What keeps a folder of models from growing for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

from examples.deploy_model.release import Releases

KEPT = 5
"""Versions that are kept besides those that are live or on trial."""


def prune(home: Path, *, kept: int = KEPT) -> list[str]:
    """Remove the oldest versions in HOME, and return their names. What is linked stays."""
    releases = Releases(home)
    linked = {releases.version_of("live"), releases.version_of("candidate")}
    found = sorted((home / "versions").glob("*"), key=lambda folder: folder.stat().st_mtime_ns)
    free = [folder for folder in found if folder.name not in linked]
    removed = free[: max(0, len(free) - kept)]
    for folder in removed:
        shutil.rmtree(folder)
    return [folder.name for folder in removed]
