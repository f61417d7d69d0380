"""Where released models are: a folder a version, and links that say which one is which.

- `versions/v1/model.pickle`, `versions/v2/model.pickle`, ...: what was trained
- `live -> versions/v1`: answers the requests
- `candidate -> versions/v2`: is on trial
"""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

Link = Literal["live", "candidate"]
_VERSION = re.compile(r"\w[\w.+-]*")


class Releases:
    """The released models below a HOME folder. Whoever follows a link never finds it missing."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def save(self, version: str, model: Any) -> Path:
        """Write MODEL as VERSION, whole or not at all, and return its file.

        Raises `ValueError` for a version that is live: what is served is never
        changed, only switched.
        """
        file = self._folder(version) / "model.pickle"
        if version == self.version_of("live"):
            raise ValueError(f"Version {version} is live; give the new model a version of its own.")
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(file)
        aside.write_bytes(pickle.dumps(model))
        os.replace(aside, file)
        return file

    def load(self, link: Link) -> Any:
        """The model that LINK leads to. Raises `FileNotFoundError` where there is none."""
        return pickle.loads((self.home / link / "model.pickle").read_bytes())

    def version_of(self, link: Link) -> str | None:
        """The version that LINK leads to; None before the first release."""
        try:
            return Path(os.readlink(self.home / link)).name
        except FileNotFoundError:
            return None

    def switch(self, link: Link, version: str) -> None:
        """Point LINK at VERSION in one step: readers see the old one or the new one.

        Raises `FileNotFoundError` for a version that was never saved.
        """
        folder = self._folder(version)
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no version {version} in {folder.parent}.")
        aside = _aside(self.home / link)
        # Relative, so that the home can be moved or mounted elsewhere.
        aside.symlink_to(folder.relative_to(self.home), target_is_directory=True)
        os.replace(aside, self.home / link)

    def promote(self) -> str | None:
        """Make the candidate live, and return the version that was live before."""
        candidate = self.version_of("candidate")
        if candidate is None:
            raise FileNotFoundError(f"There is no candidate in {self.home}.")
        before = self.version_of("live")
        self.switch("live", candidate)
        return before

    def roll_back(self) -> str | None:
        """Point the candidate back at the live version, and return that; None if none is live."""
        live = self.version_of("live")
        if live is not None:
            self.switch("candidate", live)
        else:
            (self.home / "candidate").unlink(missing_ok=True)
        return live

    def _folder(self, version: str) -> Path:
        if not _VERSION.fullmatch(version):
            raise ValueError(f"{version!r} is no version: use letters, digits and . _ + -")
        return self.home / "versions" / version


def _aside(path: Path) -> Path:
    # In the same folder, since a rename is atomic only within one file system.
    return path.with_name(f".{path.name}.{uuid4().hex}")
