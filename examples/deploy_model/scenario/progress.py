"""What the demo is doing: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text


@contextmanager
def step(console: Console, what: str) -> Iterator[None]:
    """Show that WHAT goes on, and how long it took once it is done."""
    started = time.monotonic()
    if console.is_terminal:
        with console.status(Text(what)):
            yield
    else:
        console.print(Text(f"{what} ..."))
        yield
    done = Text.assemble(("✓ ", "green"), what) if console.is_terminal else Text("  done")
    console.print(done.append(f"  {time.monotonic() - started:.1f} s", "dim"))
