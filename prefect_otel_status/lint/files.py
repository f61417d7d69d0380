"""Which files are checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_SKIPPED = frozenset({"node_modules", "__pycache__"})


def files_of(path: Path) -> Iterator[Path]:
    """PATH, or every `*.py` in it where it is a folder, in the order of their names.

    Raises `FileNotFoundError` that names a path which does not exist, and
    `OSError` for a folder that cannot be listed.
    """
    if path.is_dir():
        yield from _files_below(path)
    elif path.exists():
        yield path
    else:
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        # A link to a folder may lead around in a circle.
        if entry.is_dir() and not entry.is_symlink() and not _is_skipped(entry):
            yield from _files_below(entry)
        elif entry.suffix == ".py" and entry.is_file():
            yield entry


def _is_skipped(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in _SKIPPED or (folder / "pyvenv.cfg").exists()
