"""The OpenTelemetry Collector with the components of our configuration, built by its own builder.

No package has one, but Go's modules do. The first build takes minutes; its
result is kept in the user's cache, under the name of what it was built from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.processes import beside, program
from tests.support.server import free_port, wait_for

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
MANIFEST = DASHBOARDS / "collector" / "builder.yml"
CONFIGURATION = DASHBOARDS / "collector" / "collector.yml"

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "prefect-otel-status"


def otelcol() -> Path:
    """The path of the collector, built if it is not there. Without Go: as `program` has it."""
    digest = hashlib.sha256(MANIFEST.read_bytes()).hexdigest()[:16]
    found = _CACHE / f"otelcol-{digest}"
    return found if found.exists() else _built(found)


def _built(wanted: Path) -> Path:
    manifest = yaml.safe_load(MANIFEST.read_text())
    folder = wanted.with_suffix(f".{os.getpid()}")
    manifest["dist"]["output_path"] = str(folder)
    folder.mkdir(parents=True)
    (folder / "builder.yml").write_text(yaml.safe_dump(manifest))
    release = manifest["dist"]["version"]
    builder = f"go.opentelemetry.io/collector/cmd/builder@v{release}"
    command = [program("go"), "run", builder, "--config", str(folder / "builder.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    os.replace(folder / manifest["dist"]["name"], wanted)
    shutil.rmtree(folder)
    return wanted


class Collector:
    """A collector with our configuration, on free ports, that sends to what a test gives it."""

    def __init__(self, folder: Path, *, jaeger: str, loki: str = "http://127.0.0.1:9") -> None:
        self._folder = folder
        self.grpc, self.http = f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self._health, self._metrics = free_port(), free_port()
        self.config = folder / "collector.yml"
        self.config.write_text(yaml.safe_dump(self._moved(jaeger, loki)))

    def _moved(self, jaeger: str, loki: str) -> dict[str, Any]:
        """The committed configuration, with other addresses and another folder."""
        config: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
        protocols = config["receivers"]["otlp"]["protocols"]
        protocols["grpc"]["endpoint"] = self.grpc
        protocols["http"]["endpoint"] = self.http.removeprefix("http://")
        extensions = config["extensions"]
        extensions["health_check"]["endpoint"] = f"127.0.0.1:{self._health}"
        storage, queue = extensions["file_storage"], str(self._folder / "queue")
        storage["directory"] = storage["compaction"]["directory"] = queue
        config["exporters"]["otlp_grpc/jaeger"]["endpoint"] = jaeger
        # The tests' receiver does not unpack.
        config["exporters"]["otlp_http/loki"] |= {"endpoint": loki, "compression": "none"}
        (reader,) = config["service"]["telemetry"]["metrics"]["readers"]
        reader["pull"]["exporter"]["prometheus"] = {"host": "127.0.0.1", "port": self._metrics}
        return config

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until the end; what is in its queue stays."""
        command = [str(otelcol()), "--config", str(self.config)]
        log = self._folder / "collector.log"
        with beside(command, env={}, log=log) as process:
            wait_for(self.is_healthy, what=f"the collector ({log})")
            yield process

    def is_healthy(self) -> bool:
        return self._page(self._health, "/") is not None

    def own_metrics(self) -> str:
        """What it says of itself."""
        return self._page(self._metrics, "/metrics") or ""

    def _page(self, port: int, path: str) -> str | None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5)
        except httpx.TransportError:
            return None
        return answer.text if answer.is_success else None
