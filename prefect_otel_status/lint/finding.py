"""What is found: `Finding` has a place in a file, `Problem` a node of its tree."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import NamedTuple

BUILT_TEMPLATE = "POS001"
UNKNOWN_STAGE = "POS002"
UNKNOWN_LEVEL = "POS003"
LONG_TEMPLATE = "POS004"
TIGHT_LOOP = "POS005"
UNFILLED_FIELD = "POS006"
NOT_PARSED = "POS007"


@dataclass(frozen=True)
class Finding:
    """One place that should be written differently. Lines and columns count from 1."""

    path: str
    line: int
    column: int
    code: str
    message: str


class Problem(NamedTuple):
    """A finding before it has a place in a file."""

    node: ast.expr
    code: str
    message: str

    def found(self, path: str, lines: list[str]) -> Finding:
        """The problem at its place in the file at PATH, whose text is LINES."""
        node = self.node
        # Python counts columns in bytes of UTF-8, everyone else in characters.
        before = lines[node.lineno - 1].encode()[: node.col_offset].decode()
        return Finding(path, node.lineno, len(before) + 1, self.code, self.message)
