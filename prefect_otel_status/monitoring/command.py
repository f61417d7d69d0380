"""`render`: write the generated files, or compare them with what is there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.render import CannotRender, all_files, differences, write

__all__ = ["CannotRender", "render"]


def render(out: Path, *, check: bool, links: Links, objectives: Mapping[str, float]) -> int:
    """Write all files to OUT, or with CHECK name what differs there; returns the exit code.

    Prints a line for each change. With CHECK the code is 1 if there is any.
    Raises `CannotRender` where a package is missing, `ValueError` for an
    objective that is none and `OSError` for a folder that cannot be written.
    """
    files = all_files(links, objectives=objectives)
    found = differences(out, files) if check else write(out, files)
    sys.stdout.writelines(f"{out / line}\n" for line in found)
    return 1 if check and found else 0
