"""The flow of the page about Ray, on a real Ray, which an environment of its own has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.console import DOCS, ROOT
from tests.support.processes import program
from tests.support.receiver import Received, attributes_of
from tests.support.server import wait_for

_CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PINNED = re.compile(r"^([\w.-]+==[^\s;\\]+)(?: *(; [^\\\n]+?))?(?: \\)?$", re.MULTILINE)


def _environment_with_ray(folder: Path) -> Path:
    """Python with this package and prefect-ray: the lock's versions, and what Ray wants beside."""
    uv = str(Path(sys.executable).parent / "uv")
    constraints = folder / "constraints.txt"
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = [f"{name} {marker}" for name, marker in _PINNED.findall(lock)]
    constraints.write_text("\n".join(pinned), encoding="utf-8")
    python = folder / "with-ray" / "bin" / "python"
    wanted = ["-c", str(constraints), "prefect-ray", "-e", str(ROOT)]
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "with-ray")],
        [uv, "pip", "install", "--quiet", "--python", str(python), *wanted],
    ):
        subprocess.run(command, check=True, timeout=500)
    return python


@pytest.mark.long
@pytest.mark.server
@pytest.mark.timeout(900)
def test_a_task_on_ray_speaks_below_its_flow(
    otlp_env: dict[str, str], received: Received, tmp_path: Path
) -> None:
    program(str(Path(sys.executable).parent / "uv"))
    python = _environment_with_ray(tmp_path)
    script = tmp_path / "on_ray.py"
    page = (DOCS / "how-to" / "ray.md").read_text(encoding="utf-8")
    script.write_text(_CODE.findall(page)[0], encoding="utf-8")
    # Ray reports its use to a server of its own, unless it is told not to.
    env = {**otlp_env, "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path)}
    done = subprocess.run(
        [python, script], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    flow_run = received.wait_for_spans("RUN on-ray")["RUN on-ray"]
    wait_for(lambda: len([s for s in received.spans if s.name == "evaluate"]) == 2, what="stages")
    wait_for(lambda: len([s for s in received.spans if s.name == "score"]) == 2, what="tasks")
    tasks = {span.span_id: span for span in received.spans if span.name == "score"}
    stages = [span for span in received.spans if span.name == "evaluate"]
    assert {task.parent_span_id for task in tasks.values()} == {flow_run.span_id}
    assert {stage.parent_span_id for stage in stages} == set(tasks)
    assert {span.trace_id for span in (*tasks.values(), *stages)} == {flow_run.trace_id}
    said = [attributes_of(event.attributes) for stage in stages for event in stage.events]
    assert sorted(values["shard"] for values in said) == [1, 2]
    assert {values["prefect_status.template"] for values in said} == {"Scored shard {shard}"}
    bound = [attributes_of(task.attributes) for task in tasks.values()]
    assert {(a["model.name"], a["deployment.environment.name"]) for a in bound} == {
        ("bert", "prod")
    }
