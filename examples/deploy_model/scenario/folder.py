"""The demo's folder, and what its processes are told of it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from examples.deploy_model.scenario.processes import DemoError

ROOT = Path(__file__).resolve().parents[3]
_OF_OTHERS = ("PREFECT", "OTEL_")


class Folder:
    """Where everything that the demo makes is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.telemetry = path / "telemetry"
        self.models = path / "models"

    def environment(self, api: str, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment of the demo's processes: ENVIRON without the caller's own set-up."""
        kept = {name: value for name, value in environ.items() if not name.startswith(_OF_OTHERS)}
        return {**kept, **self._settings(api), "PYTHONPATH": _path(kept)}

    def _settings(self, api: str) -> dict[str, str]:
        return {
            "NO_PROXY": "127.0.0.1,localhost",
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_HOME": str(self.path / "prefect"),
            "PREFECT_API_URL": api,
            # Both at once, so that nobody waits: the defaults are 10 s and 5 s.
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
            "PREFECT_OTEL_STATUS_FOLDER": str(self.telemetry),
            "PREFECT_OTEL_STATUS_ENVIRONMENT": "demo",
            # It settles a run sooner than it would elsewhere.
            "PREFECT_OTEL_STATUS_SETTLE": "3",
            "PREFECT_OTEL_STATUS_SWEEP_INTERVAL": "1",
            # Every second, so that a process tells its counters before it is killed.
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }


def _path(environ: Mapping[str, str]) -> str:
    return os.pathsep.join(filter(None, (str(ROOT), environ.get("PYTHONPATH"))))


@contextmanager
def own_folder(path: Path) -> Iterator[Folder]:
    """The folder at PATH, made or emptied. Raises `DemoError` where another demo is using it."""
    path.mkdir(exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _empty(path)
        yield Folder(path)
    except BlockingIOError:
        raise DemoError(f"Another demo is running in {path}.") from None
    finally:
        os.close(handle)


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
