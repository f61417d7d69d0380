"""What the demo prints at its end: what each run said, the counters, where the files are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.deploy_model.release import Releases
from examples.deploy_model.scenario.folder import Folder
from examples.deploy_model.scenario.plans import Run
from prefect_otel_status import trees
from prefect_otel_status.ids import hex_trace_id, trace_id_of
from prefect_otel_status.trees import SpanRecord


def spans_of(run: Run, spans: Iterable[SpanRecord]) -> list[SpanRecord]:
    """Those of SPANS that tell of RUN. Its id is enough to find its trace."""
    trace_id = hex_trace_id(trace_id_of(run.id))
    return [span for span in spans if span.trace_id == trace_id]


def has_ended(run: Run, spans: Iterable[SpanRecord]) -> bool:
    """Whether the span of RUN itself is among SPANS. It is the last to be exported."""
    return any(span.parent_id is None for span in spans_of(run, spans))


@dataclass(frozen=True)
class Report:
    """All that is told, and where it was found."""

    runs: list[Run]
    folder: Folder

    def print(self, console: Console) -> None:
        """Print it."""
        spans = trees.read_spans(self.folder.telemetry)
        for run in self.runs:
            console.print("", Rule(_heading(run), align="left", style="dim"))
            console.print(_trace(run, spans_of(run, spans)))
        counters = trees.read_counters(self.folder.telemetry)
        heading = "Counters, over all processes; of the killed one as it exported them last"
        console.print("", Rule(heading, align="left", style="dim"))
        console.print(trees.counters_table(counters))
        console.print("", Rule("Where it is", align="left", style="dim"))
        console.print(self._places())

    def _places(self) -> Table:
        live = Releases(self.folder.models).version_of("live")
        places = {
            "live model": f"{live}, in {_relative(self.folder.models)}",
            "traces": _relative(self.folder.telemetry / "traces.jsonl"),
            "metrics": _relative(self.folder.telemetry / "metrics.jsonl"),
            "logs": _relative(self.folder.telemetry / "logs.jsonl"),
            "server, runner, bridge": _relative(self.folder.path / "*.log"),
        }
        table = Table.grid(padding=(0, 2))
        for name, place in places.items():
            table.add_row(Text(name, "dim"), Text(place))
        return table


def _heading(run: Run) -> Text:
    colour = "green" if run.plan.ends == "Completed" else "red"
    return Text.assemble(
        (run.plan.version, "bold"), f": {run.plan.what}  ", (run.plan.ends, colour)
    )


def _trace(run: Run, spans: list[SpanRecord]) -> Group | Any:
    tree = trees.tree_of(spans) if spans else Text("(nothing was exported)", "yellow")
    if run.killed_at is None:
        return tree
    return Group(tree, Text(f"\n{_epitaph(run)}", "yellow"))


def _epitaph(run: Run) -> str:
    lines = [
        "Its process was killed and ended no span: the bridge drew this from the server's history."
    ]
    if run.last_words is not None:
        seconds = ((run.killed_at or 0) - int(run.last_words["timestamp"])) / 1e9
        last = f"{_quoted(run.last_words)}, {seconds:.1f} s before it was killed"
        lines.append(f"Its last words: {last}.")
    return "\n".join(lines)


def _quoted(status: dict[str, Any]) -> str:
    return f"“{status['message']}”"


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
