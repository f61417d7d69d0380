"""The page of a deployment: what it says, and that it says nothing but text."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_otel_status.web.deployment import ago, deployment_page

AT = "2026-11-24T10:00:00Z"
NOW = 1_795_514_400 * 10**9  # the same moment
DAY = 86_400 * 10**9
MARKUP = "</style><script>alert(1)</script>\"'&"


def deployment(**changes: Any) -> dict[str, Any]:
    usual = {
        **{"flow": "deploy", "deployment": "prod", "environment": None, "health": "healthy"},
        **{"model": None, "version": None, "active_runs": 0, "last_status": None},
        **{"last_status_at": None, "last_status_stage": None, "last_status_level": None},
        **{"last_result": None, "last_run_id": None, "last_ended_at": None},
        **{"last_success_at": None},
    }
    return {**usual, **changes}


def page(found: dict[str, Any], **rest: Any) -> str:
    return deployment_page(found, **{"last_run": None, "links": {}, "now_ns": NOW, **rest})


def test_a_deployment_that_never_ran_says_so() -> None:
    text = page(deployment(health="unknown"))
    for part in ("Unknown: no run has ended", "have said no status", "none has ended", "never"):
        assert part in text


def test_the_last_words_the_trace_and_the_ways_on_are_shown() -> None:
    status = {"last_status": "Rolled back", "last_status_at": AT, "last_status_level": "error"}
    text = page(
        deployment(**status, health="failing", last_result="error", last_ended_at=AT, model="bert"),
        last_run={"trace_id": "0af7", "last_status": "Canary at 10 %"},
        links={"Jaeger": "http://jaeger.example/trace/0af7"},
    )
    for part in (
        "Failing: its latest run did not succeed.",
        "<blockquote>Rolled back</blockquote>",
        "Canary at 10 %",
        "<code>0af7</code>",
        '<a href="http://jaeger.example/trace/0af7">',
        "bert",
    ):
        assert part in text


def test_markup_is_shown_as_it_was_said() -> None:
    names = ("flow", "deployment", "environment", "model", "version", "last_status")
    rest = ("last_status_stage", "last_status_level", "last_result", "last_ended_at")
    found = deployment(**dict.fromkeys((*names, *rest[:3]), MARKUP), last_ended_at=AT)
    run = {"trace_id": MARKUP, "last_status": MARKUP}
    text = page(found, last_run=run, links={MARKUP: "http://" + MARKUP})
    assert "<script" not in text
    assert text.count("</style>") == 1
    assert "&#34;&#39;&amp;" in text


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (-DAY, "now"),
        (0, "now"),
        (10**9, "1 second ago"),
        (59 * 10**9, "59 seconds ago"),
        (200 * 10**9, "3 minutes ago"),
        (3_600 * 10**9, "1 hour ago"),
        (2 * DAY, "2 days ago"),
    ],
)
def test_how_long_ago_is_said_in_the_largest_unit(later: int, said: str) -> None:
    assert ago(AT, now_ns=NOW + later) == said


def test_never_is_said_where_there_is_no_time() -> None:
    assert ago(None, now_ns=NOW) == "never"
