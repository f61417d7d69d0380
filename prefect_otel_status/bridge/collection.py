"""How often Python looks for garbage in a bridge, which makes little of it and keeps much."""

from __future__ import annotations

import gc

THRESHOLD = 20_000
"""Objects made before the young ones are looked through.

A batch of 500 events is some 15,000 objects that all go at once. Python's own
700 has them walked again and again while they live: a third of the time that
an event takes.
"""


def keep_what_is_loaded() -> None:
    """Look for garbage less often, and not at all in what is loaded by now.

    For a process that is a bridge alone; a library must not do this.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, 20, 20)
