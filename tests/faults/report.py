"""Which tests provoke which fault, and what came of them: for the page on reliability."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

OPTION = "--faults-to"
FAULT = "fault"


class Marking:
    """Writes the faults of a test into its report, which also comes from another process."""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Say which faults ITEM provokes."""
        for mark in item.iter_markers("fault"):
            item.user_properties += [(FAULT, number) for number in mark.args]


class Faults:
    """Collects the outcomes of tests that are marked with a fault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the outcome of a test."""
        if report.when != "call" and report.outcome == "passed":
            return
        for name, value in report.user_properties:
            if name == FAULT:
                self._take(int(str(value)), report)

    def _take(self, number: int, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        new: dict[str, Any] = {"outcomes": Counter(), "seconds": 0.0, "seen": []}
        seen = self._found[number].setdefault(name, new)
        seen["outcomes"][report.outcome] += 1
        seen["seconds"] = round(seen["seconds"] + report.duration, 2)
        seen["seen"] += [value for key, value in report.user_properties if key == "seen"]

    def pytest_sessionfinish(self) -> None:
        """Write what was found."""
        text = json.dumps(dict(sorted(self._found.items())), indent=1, sort_keys=True)
        self._path.write_text(text + "\n", encoding="utf-8")


def add_option(parser: pytest.Parser) -> None:
    """Add the option that says where the outcomes go."""
    words = "Write the outcomes of tests that provoke faults to this file, as JSON."
    parser.addoption(OPTION, metavar="FILE", help=words)


def configure(config: pytest.Config) -> None:
    """Collect, if the option is given."""
    path = config.getoption(OPTION)
    if path:
        config.pluginmanager.register(Marking(), "marking")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Faults(Path(path)), "faults")
