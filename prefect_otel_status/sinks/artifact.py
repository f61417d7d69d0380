"""What a run shows in Prefect's own UI besides its log: a link to its trace, its progress."""

from __future__ import annotations

import contextvars
from typing import Any
from uuid import UUID

from prefect_otel_status.background import Background
from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.runs import RunHandle

LINK_KEY = "trace"


def link_trace(handle: RunHandle, *, address: str | None, background: Background) -> None:
    """Give a flow run a link artifact to its trace at ADDRESS, once. Never waits.

    ADDRESS holds `{trace_id}`; nothing happens where there is none.
    """
    if not address or handle.linked or handle.run.is_task or not handle.span_context.is_valid:
        return
    handle.linked = True
    trace = address.replace("{trace_id}", hex_trace_id(handle.span_context.trace_id))
    background.submit("link_artifact", lambda: _create_link(trace), handle.context)


def _create_link(address: str) -> None:
    from prefect.artifacts import create_link_artifact

    create: Any = create_link_artifact  # its type hides the choice of the sync form
    create(
        link=address,
        link_text="Open the trace",
        key=LINK_KEY,
        description="The trace of this run.",
        _sync=True,
    )


class ProgressArtifact:
    """The progress of one `track` in Prefect's UI. Never waits."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._id: UUID | None = None

    def show(self, fraction: float, description: str) -> None:
        """Show FRACTION (0 to 1)."""
        percent = round(100 * fraction, 1)
        context = contextvars.copy_context()
        self._background.submit(
            "progress_artifact", lambda: self._write(percent, description), context
        )

    def _write(self, percent: float, description: str) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        create: Any = create_progress_artifact  # their types hide the sync form
        update: Any = update_progress_artifact
        if self._id is None:
            self._id = create(percent, description=description, _sync=True)
        else:
            update(self._id, percent, _sync=True)
