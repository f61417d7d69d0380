"""The table of faults and the tests that are marked with them agree."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tests.faults.rows import ROWS

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "reliability.md"


def marked() -> dict[int, list[str]]:
    """The tests that are marked with each fault."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for number in _numbers(node):
                    found[number].append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def _numbers(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[int]:
    return [
        argument.value
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault"
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    ]


MARKED = marked()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number}")
def test_each_fault_is_provoked_by_a_test(row: object) -> None:
    assert MARKED.get(getattr(row, "number", 0)), row


def test_no_test_provokes_a_fault_that_is_not_in_the_table() -> None:
    assert set(MARKED) <= {row.number for row in ROWS}


def test_the_page_has_every_fault_and_every_test() -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = [row.fault for row in ROWS if row.fault not in page]
    missing += [name for names in MARKED.values() for name in names if _name(name) not in page]
    assert missing == [], "`make faults` writes the page anew"


def _name(test: str) -> str:
    return test.rpartition("::")[2]
