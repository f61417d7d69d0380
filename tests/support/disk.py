"""A small disk that can be filled: a file system of its own in memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FILLER = "filler"


@contextmanager
def small_disk(place: Path, *, megabytes: int) -> Iterator[Path]:
    """A disk of MEGABYTES at PLACE. Skips the test where none can be mounted; in CI it fails."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=30, check=False)
        words = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        words = str(error)
    if words and os.environ.get("CI"):
        pytest.fail(f"a disk must be mounted in CI: {words}")
    if words:
        pytest.skip(f"only root can mount a disk: {words}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], timeout=30, check=True)


def fill(disk: Path) -> None:
    """Write until no byte is left on DISK."""
    with (disk / FILLER).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def free(disk: Path) -> None:
    """Take the filler away."""
    (disk / FILLER).unlink()
