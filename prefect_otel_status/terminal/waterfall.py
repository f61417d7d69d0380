"""A waterfall as lines of text: names on the left, bars of time on the right."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

from prefect_otel_status.trees import COLOURS, MARKS, duration, offset
from prefect_otel_status.waterfall import EXCEPTION, STATE, Mark, Row, Waterfall

_BAR, _MARK = "━", "◆"
_LEAST_BAR = 16
"""Columns below which bars say nothing; then there are none."""

_MOST_NAME = 60
_NO_OFFSET = " " * 10
_LENGTH = 11
"""Columns of a duration, with the gap before it."""


def lines(found: Waterfall, *, width: int) -> Iterator[Text]:
    """FOUND as lines for a screen of WIDTH columns. What was said is never cut short."""
    names = min(_MOST_NAME, max(cell_len(_name(row).plain) for row in found.rows))
    bar = width - names - _LENGTH - 2
    for row in found.rows:
        yield _span_line(row, names, bar if bar >= _LEAST_BAR else 0)
        for mark in row.marks:
            yield Text.assemble((_past(row), "dim"), _mark_line(mark))
        if row.trouble:
            yield Text.assemble((_past(row) + _NO_OFFSET, "dim"), (row.trouble, "red"))


def _span_line(row: Row, names: int, bar: int) -> Text:
    line = _name(row)
    line.append(" " * max(0, names - cell_len(line.plain)))
    line.append(f"{duration(row.duration):>{_LENGTH}}", "cyan")
    if bar:
        line.append("  ").append_text(_bar(row, bar))
    line.rstrip()
    return line


def _name(row: Row) -> Text:
    mark, colour = MARKS.get(row.result, ("•", "dim"))
    line = Text.assemble((_guides(row), "dim"), (f"{mark} ", colour), (row.name, "bold"))
    if row.result not in ("", "success"):
        line.append(f"  {row.result}", colour)
    elif not row.result and row.state:
        line.append(f"  {row.state.lower()}", "dim")
    for note in row.notes:
        line.append(f"  ({note})", "yellow")
    return line


def _guides(row: Row) -> str:
    if not row.depth:
        return ""
    # The line past the top span would go past nothing.
    past = "".join("│   " if goes_on else "    " for goes_on in row.guides[1:])
    return past + ("└── " if row.is_last else "├── ")


def _past(row: Row) -> str:
    """What stands before a line within ROW."""
    below = "│ " if row.has_children else "  "
    if not row.depth:
        return below
    past = "".join("│   " if goes_on else "    " for goes_on in row.guides[1:])
    return past + ("    " if row.is_last else "│   ") + below


def _bar(row: Row, width: int) -> Text:
    colour = MARKS.get(row.result, ("", "cyan"))[1]
    first = min(width - 1, int(row.start * width))
    length = max(1, round(row.length * width))
    cells = [" "] * first + [_BAR] * min(length, width - first)
    line = Text("".join(cells), colour)
    for mark in row.marks:
        if mark.kind != STATE:
            place = min(len(cells) - 1, int(mark.at * width))
            line = _with_mark(line, place, COLOURS.get(mark.level, "bold"))
    return line


def _with_mark(line: Text, place: int, style: str) -> Text:
    return Text.assemble(line[:place], (_MARK, style), line[place + 1 :])


def _mark_line(mark: Mark) -> Text:
    line = Text(f"{offset(mark.offset)}  ", "dim")
    if mark.kind == STATE:
        return line.append(mark.text, "dim italic")
    colour = COLOURS.get(mark.level, "")
    level = "" if mark.kind == EXCEPTION else f"{mark.level:<9}"
    line.append(level, colour or "dim").append(mark.text, colour)
    if mark.stage:
        line.append(f"  [{mark.stage}]", "dim")
    return line
