"""What the tests share: a real Prefect server, real receivers, flows in real processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults import report
from tests.support.postgres import new_database, postgres
from tests.support.receiver import Received, otlp_receiver
from tests.support.server import environment, prefect_server
from tests.support.telling import Told

ROOT = Path(__file__).parent.parent
FLOWS = Path(__file__).parent / "flows"

RunFlow = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have the option that tells what came of each fault."""
    report.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Tell it where that is asked for."""
    report.configure(config)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """The address of a real Prefect server's API."""
    with prefect_server(prefect_home) as address:
        yield address


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a real PostgreSQL; make a database of your own with `new_database`."""
    # Not one of pytest's folders: they are closed to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, postgres(Path(folder)) as url:
        yield url


@pytest.fixture(scope="session")
def prefect_api_on_postgres(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of the API of a real Prefect server whose database is PostgreSQL."""
    database = new_database(postgres_url, "prefect")
    home = tmp_path_factory.mktemp("prefect-on-postgres")
    with prefect_server(home, PREFECT_SERVER_DATABASE_CONNECTION_URL=database) as address:
        yield address


@pytest.fixture
def received() -> Iterator[Received]:
    """A real OTLP receiver and what it was sent."""
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def flow_env(prefect_api: str, prefect_home: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a flow's process: the real server, telemetry into a folder."""
    return environment(
        prefect_home,
        PREFECT_API_URL=prefect_api,
        PREFECT_OTEL_STATUS_FOLDER=str(tmp_path / "telemetry"),
        PREFECT_SERVER_UI_ENABLED="true",
        PREFECT_UI_URL="http://prefect.example",
        PYTHONPATH=str(ROOT),
    )


@pytest.fixture
def otlp_env(flow_env: dict[str, str], received: Received) -> dict[str, str]:
    """The same, with telemetry to the receiver."""
    return {
        **flow_env,
        "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }


@pytest.fixture
def tell() -> Iterator[Callable[..., Told]]:
    """Makes a runtime with the settings given the one of this process, until the test ends."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Told(**settings).in_use())


@pytest.fixture
def told(tell: Callable[..., Told]) -> Told:
    """What this process is told, with the usual settings."""
    return tell()


@pytest.fixture
def prefect_here(
    prefect_api: str, prefect_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Flows that run in this process do so against the real server."""
    from prefect import context
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_api, PREFECT_HOME: prefect_home}):
        # In bare threads too, as if the environment had said so.
        monkeypatch.setattr(context, "GLOBAL_SETTINGS_CONTEXT", context.get_settings_context())
        yield prefect_api
        # Prefect's own threads must not outlive its server.
        APILogWorker.drain_all(timeout=10)
        EventsWorker.drain_all(timeout=10)


def run_flow(
    script: str, *arguments: str, env: dict[str, str], check: bool = True, timeout: float = 90
) -> subprocess.CompletedProcess[str]:
    """Run tests/flows/SCRIPT in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(FLOWS / script), *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"{script} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done
