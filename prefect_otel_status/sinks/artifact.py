"""What a run shows in Prefect's own UI besides its log: a link to its trace, its progress."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING
from uuid import UUID

from prefect_otel_status.ids import hex_trace_id
from prefect_otel_status.runs import RunHandle

if TYPE_CHECKING:
    from prefect_otel_status.runtime import Runtime

LINK_KEY = "trace"


def link_trace(runtime: Runtime, handle: RunHandle) -> None:
    """Give a flow run a link artifact to its trace, once. Never waits.

    Nothing happens unless the setting `trace_url` says where traces are shown.
    """
    template = runtime.settings.trace_url
    if not template or handle.linked or handle.run.is_task or not handle.span_context.is_valid:
        return
    handle.linked = True
    address = template.replace("{trace_id}", hex_trace_id(handle.span_context.trace_id))
    runtime.background.submit("link_artifact", lambda: _create_link(address), handle.context)


def _create_link(address: str) -> None:
    from prefect.artifacts import create_link_artifact

    create_link_artifact(
        link=address,
        link_text="Open the trace",
        key=LINK_KEY,
        description="The trace of this run.",
        _sync=True,
    )


class ProgressArtifact:
    """The progress of one `track` in Prefect's UI, where the setting asks for it. Never waits."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._id: UUID | None = None

    def show(self, fraction: float | None, description: str) -> None:
        """Show FRACTION (0 to 1); nothing where it is unknown or not asked for."""
        if fraction is None or not self._runtime.settings.progress_artifact:
            return
        percent = round(100 * fraction, 1)
        context = contextvars.copy_context()
        self._runtime.background.submit(
            "progress_artifact", lambda: self._write(percent, description), context
        )

    def _write(self, percent: float, description: str) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        if self._id is None:
            self._id = create_progress_artifact(percent, description=description, _sync=True)  # type: ignore[assignment,call-arg]  # the sync form gives the id
        else:
            update_progress_artifact(self._id, percent, _sync=True)  # type: ignore[unused-coroutine,call-arg]  # the sync form
