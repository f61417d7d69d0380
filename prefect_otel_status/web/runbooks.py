"""The runbooks, which come with the package."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"[A-Z][A-Za-z]{1,60}")
_PACKAGE = Path(__file__).parent.parent
_FOLDERS = (_PACKAGE / "runbooks", _PACKAGE.parent / "docs" / "runbooks")
"""Where a wheel has them, and where a checkout does."""


def runbook(name: str) -> str | None:
    """The runbook of the alert NAME, as Markdown; None where there is none."""
    if not _NAME.fullmatch(name):
        return None
    for folder in _FOLDERS:
        path = folder / f"{name}.md"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None
