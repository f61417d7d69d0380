"""Recorded histories: what a real Prefect server knew of real runs, as its API gave it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FOLDER = Path(__file__).parent.parent / "data" / "histories"
PLAIN, ZIPPED = ".json", ".json.gz"


@dataclass(frozen=True)
class History:
    """Everything that a server knew after one scenario, and what the recording script knew.

    The records are the server's own; do not change them, for they are shared.
    """

    scenario: str
    variant: str
    what: str
    prefect_version: str
    recorded: str
    truth: Json
    flow_runs: list[Json]
    flow_run_states: dict[str, list[Json]]
    task_runs: list[Json]
    task_run_states: dict[str, list[Json]]
    events: list[Json]
    flows: list[Json]
    deployments: list[Json]

    @property
    def name(self) -> str:
        return f"{self.scenario}.{self.variant}"


def names() -> list[str]:
    """The names of all histories, `<scenario>.<variant>`, sorted."""
    found = [path.name for path in FOLDER.iterdir()]
    return sorted(name.removesuffix(ZIPPED).removesuffix(PLAIN) for name in found)


@cache
def load(name: str) -> History:
    """The history NAME, `<scenario>.<variant>`."""
    return History(**json.loads(_text(name)))


def _text(name: str) -> str:
    zipped = FOLDER / f"{name}{ZIPPED}"
    if zipped.exists():
        return gzip.decompress(zipped.read_bytes()).decode("utf-8")
    return (FOLDER / f"{name}{PLAIN}").read_text(encoding="utf-8")
