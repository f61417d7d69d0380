"""The page of a deployment: what it says, and that it says nothing but text."""

from __future__ import annotations

from typing import Any

from prefect_otel_status.web.bars import Bar
from prefect_otel_status.web.deployment import (
    SHOWN,
    Failures,
    Past,
    SaidIn,
    Version,
    deployment_page,
    failures,
    latest,
    versions,
)
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.overview import Card

NOW = 1_795_514_400 * 10**9
MINUTE = 60 * 10**9
MARKUP = "<script>alert(1)</script>\"'&"


def past(number: int, result: str = "success", **rest: Any) -> Past:
    return Past(Bar(f"run-{number}", f"name-{number}", result, 2.0, NOW - number * MINUTE), **rest)


def page(card: Card, *runs: Past, feed: tuple[SaidIn, ...] = (), **links: str) -> str:
    return deployment_page(card, runs, feed, links=links, frame=Frame(now=NOW))


def test_a_deployment_that_never_ran_says_so() -> None:
    text = page(Card("deploy", why="No run has ended with a result that says."))
    for part in ("No run has ended", "have said no status yet", "never", "Nothing yet."):
        assert part in text
    assert "Durations" not in text


def test_the_last_words_the_failures_and_the_ways_on_are_shown() -> None:
    text = page(
        Card("deploy", "prod", message="Rolled back", level="error", said_at=NOW - MINUTE),
        past(1, "failure", error_type="ValueError", error="no", version="3"),
        past(2, version="2"),
        feed=(SaidIn(NOW, "Canary at 10 %", "info", "canary", "run-1", "name-1"),),
        Jaeger="http://jaeger.example/trace/0af7",
    )
    for part in (
        "<h1>deploy/prod ",
        '<p class="message error">Rolled back</p>',
        "Its last status, error, ",
        "Canary at 10 %",
        '<a href="/runs/run-1">name-1</a>',
        '<a href="http://jaeger.example/trace/0af7">in Jaeger</a>',
        '<span class="failure word">ValueError</span>',
        "<td>3</td>",
        "the longest 2.00 s",
    ):
        assert part in text, part


def test_failures_are_grouped_by_their_error() -> None:
    runs = [
        past(1, "failure", error_type="ValueError", error="the latest"),
        past(2),
        past(3, "error", error_type="Crashed", error="killed"),
        past(4, "failure", error_type="ValueError", error="the first"),
    ]
    assert failures(runs) == [
        Failures("ValueError", "the latest", 2, NOW - MINUTE, "run-1"),
        Failures("Crashed", "killed", 1, NOW - 3 * MINUTE, "run-3"),
    ]


def test_versions_come_with_how_they_went() -> None:
    runs = [past(1, version="v2"), past(2, "failure", version="v2"), past(3, version="v1"), past(4)]
    assert versions(runs) == [
        Version("v2", 2, 1, NOW - MINUTE),
        Version("v1", 1, 1, NOW - 3 * MINUTE),
    ]


def test_the_feed_is_the_latest_first_and_has_an_end() -> None:
    feed = [SaidIn(n, f"{n}", "info", "", "run") for n in range(SHOWN + 10)]
    found = latest(feed)
    assert [said.at for said in found] == list(range(SHOWN + 9, 9, -1))


def test_markup_is_shown_as_it_was_said() -> None:
    one = Past(Bar(MARKUP, MARKUP, MARKUP, 1.0, NOW), MARKUP, MARKUP, MARKUP)
    bad = Past(Bar(MARKUP, MARKUP, "failure", 1.0, NOW), MARKUP, MARKUP, MARKUP)
    said = SaidIn(NOW, MARKUP, MARKUP, MARKUP, MARKUP, MARKUP)
    text = deployment_page(
        Card(*[MARKUP] * 5, health="failing", why=MARKUP, message=MARKUP, level=MARKUP),
        [one, bad],
        [said],
        links={MARKUP: "http://" + MARKUP},
        frame=Frame(now=NOW),
    )
    assert text.count("<script") == 1  # the page's own
    assert "&#34;&#39;&amp;" in text
