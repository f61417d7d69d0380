"""How often a bridge looks for garbage: in a process of its own, since it is the process's."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from prefect_otel_status.bridge import collection

before = gc.get_threshold()[0]
kept = [[] for _ in range(1000)]
collection.keep_what_is_loaded()
print(gc.isenabled(), gc.get_threshold()[0] > before, gc.get_freeze_count() >= 1000)
"""


def test_what_is_loaded_is_kept_and_garbage_is_still_found() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True", "True", "True"]
