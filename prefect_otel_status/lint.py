"""Static checks of code that says statuses: it is read with `ast`, never imported or run.

Each finding has a stable code and says what to write instead. `# noqa` or
`# noqa: POS001` on its line suppresses it.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import os
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import decode_source
from pathlib import Path
from typing import NamedTuple

from prefect_otel_status import templates
from prefect_otel_status.model import LEVELS

BUILT_TEMPLATE = "POS001"
UNKNOWN_STAGE = "POS002"
UNKNOWN_LEVEL = "POS003"
LONG_TEMPLATE = "POS004"
TIGHT_LOOP = "POS005"
UNFILLED_FIELD = "POS006"
NOT_PARSED = "POS007"

_PACKAGE = "prefect_otel_status"
_HOMES = {"status": "messages", "stage": "stages", "track": "tracking"}
_FUNCTIONS = {
    f"{_PACKAGE}.{place}": name
    for name, home in _HOMES.items()
    for place in (name, f"{home}.{name}")
}
_TEMPLATE_AT = {"status": 0, "track": 1}
_OPTIONS = {"status": frozenset({"event", "stage", "level", "progress"}), "track": frozenset()}
_ALWAYS_FILLED = {
    "status": frozenset[str](),
    "track": frozenset({"done", "total", "rate", "remaining"}),
}

_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})
_NOQA = re.compile(
    r"#\s*noqa(?:\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)|(?!\s*:|\w))", re.IGNORECASE
)
_FIELD_ROOT = re.compile(r"[^\W\d]\w*")
