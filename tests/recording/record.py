"""Record scenarios: `python -m tests.recording.record [SCENARIO ...]`, by default all of them.

SCENARIO may also name one variant: `success.ours`.
"""

from __future__ import annotations

import atexit
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from tests.recording.reading import Json, everything
from tests.recording.scenarios import SCENARIOS, Scenario
from tests.recording.scene import ROOT, Scene
from tests.support.histories import FOLDER, PLAIN, ZIPPED
from tests.support.server import environment, prefect_server

PLAIN_BELOW = 100_000
SERVER = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1"}


def main(names: list[str]) -> int:
    """Record what NAMES asks for; gives how many recordings failed."""
    return sum(not _recorded(scenario, variant) for scenario, variant in _wanted(names))


def record(scenario: Scenario, variant: str) -> Json:
    """Play the scenario on a server of its own; gives everything that the server knows then."""
    with tempfile.TemporaryDirectory(prefix="recording-") as name:
        folder = Path(name)
        shutil.copy(_empty_database(), folder)
        with prefect_server(folder, **SERVER, **scenario.server) as address:
            scene = Scene(address=address, folder=folder, variant=variant)
            scenario.play(scene)
            scene.settle()
            recorded = _recording(scenario, variant, scene)
        return _without_the_machine(recorded, folder)


def save(recording: Json) -> Path:
    """Write RECORDING where the tests find it, zipped where it is large."""
    name = f"{recording['scenario']}.{recording['variant']}"
    text = json.dumps(recording, indent=1, ensure_ascii=False) + "\n"
    plain, zipped = FOLDER / f"{name}{PLAIN}", FOLDER / f"{name}{ZIPPED}"
    plain.unlink(missing_ok=True)
    zipped.unlink(missing_ok=True)
    if len(text) < PLAIN_BELOW:
        plain.write_text(text, encoding="utf-8")
        return plain
    # Without the time in it, the same recording gives the same file.
    zipped.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    return zipped


def _recorded(scenario: Scenario, variant: str) -> bool:
    try:
        print(save(record(scenario, variant)), flush=True)
    except Exception:  # one that fails must not keep the others from being recorded
        print(f"{scenario.name}.{variant} was not recorded:", flush=True)
        traceback.print_exc()
        return False
    return True


@cache
def _empty_database() -> Path:
    # Made once and copied: it takes a server longer to make it than to do all the rest.
    home = Path(tempfile.mkdtemp(prefix="recording-database-"))
    atexit.register(shutil.rmtree, home)
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    subprocess.run(command, env=environment(home), check=True, capture_output=True)
    return home / "prefect.db"


def _wanted(names: list[str]) -> Iterator[tuple[Scenario, str]]:
    for name in names or SCENARIOS:
        scenario, _, variant = name.partition(".")
        for each in SCENARIOS[scenario].variants:
            if variant in ("", each):
                yield SCENARIOS[scenario], each


def _recording(scenario: Scenario, variant: str, scene: Scene) -> Json:
    return {
        "scenario": scenario.name,
        "variant": variant,
        "what": scenario.what,
        "prefect_version": scene.api.get("/admin/version"),
        "recorded": datetime.now(timezone.utc).isoformat(),
        "truth": _truth(scenario, scene),
        **everything(scene.api),
    }


def _truth(scenario: Scenario, scene: Scene) -> Json:
    return {
        **scenario.known(),
        "said": [note["template"] for note in scene.notes("said")],
        "killed": scene.notes("killed"),
        "acts": scene.acts,
        "exported_spans": [*_foreign_spans(scene.folder), *_our_spans(scene.folder)],
    }


def _foreign_spans(folder: Path) -> list[Json]:
    file = folder / "foreign.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _our_spans(folder: Path) -> Iterator[Json]:
    for file in sorted((folder / "telemetry").glob("traces*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            yield from map(_span, _spans_of(json.loads(line)))


def _spans_of(request: Json) -> Iterator[Json]:
    for group in request["resourceSpans"]:
        for scope in group["scopeSpans"]:
            yield from scope["spans"]


def _span(span: Json) -> Json:
    return {
        "name": span["name"],
        "trace_id": span["traceId"],
        "span_id": span["spanId"],
        "parent_span_id": span.get("parentSpanId", ""),
    }


def _without_the_machine(recording: Json, folder: Path) -> Json:
    text = json.dumps(recording)
    replaced = {str(folder): "/project/home", str(ROOT): "/project"}
    for mine, everyones in replaced.items():
        text = text.replace(mine, everyones)
    cleaned: dict[str, Any] = json.loads(text)
    return cleaned


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
