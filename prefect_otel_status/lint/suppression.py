"""`# noqa` and `# noqa: POS001`: comments that keep a finding from being told."""

from __future__ import annotations

import re

from prefect_otel_status.lint.finding import Problem

_NOQA = re.compile(
    r"#\s*noqa(?:\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)|(?!\s*:)\b)", re.IGNORECASE
)


def is_suppressed(problem: Problem, lines: list[str]) -> bool:
    """Whether a comment in LINES, on PROBLEM's first or last line, suppresses it."""
    # A text in triple quotes has room for a comment behind its last line only.
    ends = {problem.node.lineno, problem.node.end_lineno or problem.node.lineno}
    comments = [comment for line in ends for comment in _NOQA.finditer(lines[line - 1])]
    return any(_names(comment, problem.code) for comment in comments)


def _names(comment: re.Match[str], code: str) -> bool:
    codes = comment["codes"]
    return codes is None or code in re.split(r"[\s,]+", codes.upper())
