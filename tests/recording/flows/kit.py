"""What the recorded flows share: our functions or none, notes for the recorder, and waiting."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

VARIANT = os.environ["RECORDING_VARIANT"]
FOLDER = Path(os.environ["RECORDING_FOLDER"])
MOST = 60.0

if VARIANT == "ours":
    from prefect_otel_status import bind, flow_hooks, gate, stage, task_hooks
    from prefect_otel_status import status as _status
else:
    from tests.recording.flows.silent import bind, flow_hooks, gate, stage, task_hooks
    from tests.recording.flows.silent import status as _status

if VARIANT == "foreign":
    from tests.recording.flows.foreign import set_up

    set_up(FOLDER / "foreign.jsonl")

__all__ = ["bind", "flow_hooks", "gate", "main", "note", "stage", "status", "task_hooks"]


def note(what: str, **values: Any) -> None:
    """Write down that WHAT happens now, for the truth of the recording. Survives a SIGKILL."""
    line = json.dumps({"what": what, "at": time.time_ns(), "pid": os.getpid(), **values})
    with (FOLDER / "notes.jsonl").open("a", encoding="utf-8") as notes:
        notes.write(line + "\n")


def status(template: str, **values: Any) -> None:
    """Say a status, and write down that it was said."""
    note("said", template=template)
    _status(template, **values)


def wait_for_mark(name: str) -> None:
    """Wait until the recorder has made the file NAME."""
    deadline = time.monotonic() + MOST
    while not (FOLDER / name).exists() and time.monotonic() < deadline:
        threading.Event().wait(0.05)


def main(*flows: Any) -> None:
    """Run the flow whose function the first argument names; with `serve`, serve it instead."""
    name, *how = sys.argv[1:]
    chosen = {flow.fn.__name__: flow for flow in flows}[name]
    if how == ["serve"]:
        chosen.serve(name="prod", print_starting_message=False, pause_on_shutdown=False)
    else:
        chosen()
