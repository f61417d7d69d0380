"""Write docs/reliability.md from what the tests of faults saw.

`python docs/reliability.py --from FILE`, where FILE is what
`pytest -m fault --faults-to=FILE` wrote; `make faults` does both.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults.rows import ROWS, Row  # noqa: E402  (found by the line before)

PAGE = ROOT / "docs" / "reliability.md"

_HEAD = """# Reliability

What goes wrong around a bridge and its flows, what is promised then, and which test provokes it.
Written by `make faults`, which runs all of these tests; the last time on {day}, with Prefect
{prefect} and Python {python}.

A fault is provoked with real parts where these can be had: a real Prefect server, real receivers,
processes that are killed, a disk that is full. Where only the clock is not real, the test's name
says the time that it stands for. `make soak` repeats the long ones for longer.

| # | fault | promised | provoked by | outcome |
| --- | --- | --- | --- | --- |
"""

_TAIL = """
## What is outside

- Spans that Prefect or another provider sends itself are not redacted by us; see
  [keep secrets out](how-to/redaction.md).
- A process that is killed has sent what it had sent: which of its spans a receiver already has
  cannot be known, and the bridge draws the run under the same ids.
- What was said in the last two seconds before a SIGKILL may not have reached the server.
- Ten minutes of an absent server and an hour of an absent collector are waited for by an injected
  clock, not in real time.
"""


def main() -> None:
    """Read the outcomes, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, required=True, metavar="FILE")
    found = json.loads(parser.parse_args().source.read_text(encoding="utf-8"))
    PAGE.write_text(page(found), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(found)} of {len(ROWS)} faults were provoked")


def page(found: dict[str, Any]) -> str:
    """The page, with what was FOUND by number and test."""
    head = _HEAD.format(
        day=date.today().isoformat(), prefect=version("prefect"), python=platform.python_version()
    )
    lines = [_row(row, found.get(str(row.number), {})) for row in ROWS]
    return head + "".join(lines) + _TAIL


def _row(row: Row, tests: dict[str, Any]) -> str:
    named = "<br>".join(f"`{_short(name)}`" for name in tests) or "not run"
    cells = (str(row.number), row.fault, row.promise, named, _outcome(tests))
    return f"| {' | '.join(cells)} |\n"


def _short(name: str) -> str:
    path, _, test = name.partition("::")
    return f"{path.removeprefix('tests/')}::{test}"


def _outcome(tests: dict[str, Any]) -> str:
    counts: dict[str, int] = {}
    for each in tests.values():
        for outcome, count in each["outcomes"].items():
            counts[outcome] = counts.get(outcome, 0) + count
    seconds = sum(each["seconds"] for each in tests.values())
    said = [words for each in tests.values() for words in each["seen"]]
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "–"
    return "<br>".join([f"{told}, {seconds:.1f} s", *said])


if __name__ == "__main__":
    main()
