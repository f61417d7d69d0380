"""Names and addresses that Prefect knows, each asked for once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from prefect.settings import PREFECT_UI_URL, temporary_settings

from prefect_otel_status import signals
from prefect_otel_status.prefect_names import Deployments, RunUrls
from prefect_otel_status.tally import Tally
from tests.support.records import FLOW_RUN_ID, flow_run

DEPLOYMENT = "00000000-0000-0000-0000-000000000003"


class Client:
    """Answers for the server, and keeps what it is asked."""

    def __init__(self, answer: Any) -> None:
        self.asked: list[UUID] = []
        self._answer = answer

    def read_deployment(self, deployment_id: UUID) -> Any:
        self.asked.append(deployment_id)
        if isinstance(self._answer, Exception):
            raise self._answer
        return type("Deployment", (), {"name": self._answer})


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The server answers so."""

    def install(words: Any) -> Client:
        client = Client(words)

        @contextmanager
        def get_client(**options: Any) -> Iterator[Client]:
            assert options == {"sync_client": True, "httpx_settings": {"timeout": 2.0}}
            yield client

        monkeypatch.setattr("prefect.client.orchestration.get_client", get_client)
        return client

    return install


@pytest.fixture(autouse=True)
def no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT__DEPLOYMENT_NAME", raising=False)


# --- addresses ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flow", "task"])
def test_a_run_has_an_address_in_the_ui(kind: str) -> None:
    with temporary_settings({PREFECT_UI_URL: "http://ui"}):
        found = RunUrls(Tally()).of_run(kind, FLOW_RUN_ID)
    assert found == f"http://ui/runs/{kind}-run/{FLOW_RUN_ID}"


def test_the_pattern_is_asked_for_once_and_a_failure_is_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: Any, **named: Any) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr("prefect.utilities.urls.url_for", refuse)
    tally = Tally()
    urls = RunUrls(tally)
    assert [urls.of_run("flow", FLOW_RUN_ID) for _ in range(3)] == [None] * 3
    assert tally.read() == {(signals.PROCESS_FAILURES, "run_url"): 1}


# --- deployments --------------------------------------------------------------


def test_a_run_without_a_deployment_has_none(answer: Any) -> None:
    client, deployments = answer("nightly"), Deployments(Tally())
    assert (deployments.name_of(flow_run()), deployments.resolve(flow_run())) == ("", "")
    assert client.asked == []


def test_a_deployment_is_asked_for_once(answer: Any) -> None:
    client, deployments = answer("nightly"), Deployments(Tally())
    run = flow_run(deployment_id=DEPLOYMENT)
    assert deployments.name_of(run) == ""
    assert [deployments.resolve(run) for _ in range(2)] == ["nightly"] * 2
    assert deployments.name_of(run) == "nightly"
    assert client.asked == [UUID(DEPLOYMENT)]


def test_the_environments_name_needs_no_question(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT__DEPLOYMENT_NAME", "from the environment")
    client, deployments = answer("nightly"), Deployments(Tally())
    assert deployments.resolve(flow_run(deployment_id=DEPLOYMENT)) == "from the environment"
    assert client.asked == []


def test_a_server_that_does_not_answer_is_asked_once_and_counted(answer: Any) -> None:
    client, tally = answer(TimeoutError("no answer")), Tally()
    deployments = Deployments(tally)
    run = flow_run(deployment_id=DEPLOYMENT)
    assert [deployments.resolve(run) for _ in range(3)] == [""] * 3
    assert len(client.asked) == 1
    assert tally.read() == {(signals.PROCESS_FAILURES, "deployment_name"): 1}
