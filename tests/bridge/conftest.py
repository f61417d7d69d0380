"""What the tests of the bridge share: an empty store on either database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from prefect_otel_status.bridge.store import Store, open_store
from tests.support.core import A_STORE, Clock
from tests.support.postgres import new_database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once a file and once a real PostgreSQL's."""
    if request.param == "sqlite":
        return str(tmp_path / "state" / A_STORE)
    url: str = request.getfixturevalue("postgres_url")
    return new_database(url, f"bridge_{uuid4().hex[:12]}")


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """An empty store there."""
    opened = await open_store(database, now=Clock().now)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()
