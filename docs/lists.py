"""Indent what belongs to a list item as the site's Markdown wants it: by four columns.

A hook of mkdocs. On the repository's host what is below `1. ` is indented by three
columns, and what is below `- ` by two; the site's Markdown would end the list there.
Remarks for the tests, `<!-- not run: ... -->`, are left out: they would part an item.
"""

from __future__ import annotations

import re
from typing import Any

_ITEM = re.compile(r"(?P<marker>(?:\d+\.|[-*]) +)\S")
_REMARK = re.compile(r"^ *<!-- .* -->\n(?= *```)", re.MULTILINE)
_WANTED = 4


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Indent the lists of a page. What is not indented, code blocks too, is left as it is."""
    return indented(_REMARK.sub("", markdown))


def indented(markdown: str) -> str:
    """MARKDOWN with the lines below a list's item moved to the right."""
    lines: list[str] = []
    missing, is_code = 0, False
    for line in markdown.split("\n"):
        if line.startswith("```"):
            missing, is_code = 0, not is_code
        elif line and not line.startswith(" ") and not is_code:
            item = _ITEM.match(line)
            missing = max(0, _WANTED - len(item["marker"])) if item else 0
        is_below = line.startswith(" ") and not is_code
        lines.append(" " * missing + line if is_below else line)
    return "\n".join(lines)
