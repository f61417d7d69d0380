"""What keeps a folder of models from growing for ever."""

from __future__ import annotations

import os
from pathlib import Path

from examples.deploy_model.pruning import prune
from examples.deploy_model.release import Releases


def _saved(home: Path, count: int) -> Releases:
    releases = Releases(home)
    for number in range(count):
        folder = releases.save(f"v{number}", {"i am": number}).parent
        os.utime(folder, ns=(number, number))
    return releases


def test_the_oldest_go_and_what_is_linked_stays(tmp_path: Path) -> None:
    releases = _saved(tmp_path, 6)
    releases.switch("live", "v0")
    releases.switch("candidate", "v2")
    assert prune(tmp_path, kept=2) == ["v1", "v3"]
    left = {folder.name for folder in (tmp_path / "versions").iterdir()}
    assert left == {"v0", "v2", "v4", "v5"}
    assert releases.load("live") == {"i am": 0}


def test_few_are_all_kept(tmp_path: Path) -> None:
    _saved(tmp_path, 2)
    assert prune(tmp_path, kept=2) == []


def test_a_folder_without_models_is_left_alone(tmp_path: Path) -> None:
    assert prune(tmp_path) == []
