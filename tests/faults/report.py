"""Which tests provoke which fault, and what came of them: for the page on reliability."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

OPTION = "--faults-to"


class Faults:
    """Collects the outcomes of tests that are marked with a fault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Any:
        """Take the outcome of ITEM."""
        report = yield
        if call.when == "call" or report.outcome != "passed":
            for mark in item.iter_markers("fault"):
                for number in mark.args:
                    self._take(number, item, report)
        return report

    def _take(self, number: int, item: pytest.Item, report: Any) -> None:
        name = item.nodeid.partition("[")[0]
        seen = self._found[number].setdefault(
            name, {"outcomes": Counter(), "seconds": 0.0, "seen": []}
        )
        seen["outcomes"][report.outcome] += 1
        seen["seconds"] = round(seen["seconds"] + report.duration, 2)
        seen["seen"] += [value for key, value in item.user_properties if key == "seen"]

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
        config.pluginmanager.register(Faults(Path(path)), "faults")
