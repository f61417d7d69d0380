"""Which deployments the overview shows, in which order, and how its bars are drawn."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_otel_status.web.bars import Bar
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.overview import (
    PAGE,
    Card,
    GateSeen,
    Now,
    Query,
    chosen,
    overview_page,
    part_of,
)

NOW = 1_795_514_400 * 10**9
MINUTE = 60 * 10**9
MARKUP = "<script>alert(1)</script>\"'&"


def bar(result: str = "success", seconds: float = 1.0, number: int = 1) -> Bar:
    return Bar(f"run-{number}", f"name-{number}", result, seconds, NOW - number * MINUTE)


CARDS = [
    Card("train", "prod", "live", health="healthy", bars=(bar(), bar("failure")), said_at=5),
    Card("deploy", "prod", "live", model="bert", health="failing", message="Rolled back"),
    Card("deploy", "test", "lab", health="late", bars=(bar(),), last_ended=9),
    Card("alone", health="unknown"),
]


def names(**query: str) -> list[str]:
    return [card.name for card in chosen(CARDS, Query.of(query))]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({}, ["deploy/prod", "deploy/test", "train/prod", "alone"]),
        ({"sort": "name"}, ["alone", "deploy/prod", "deploy/test", "train/prod"]),
        ({"sort": "latest"}, ["deploy/test", "train/prod", "alone", "deploy/prod"]),
        ({"sort": "success"}, ["train/prod", "deploy/test", "alone", "deploy/prod"]),
        ({"sort": "nonsense"}, ["deploy/prod", "deploy/test", "train/prod", "alone"]),
        ({"environment": "lab"}, ["deploy/test"]),
        ({"health": "healthy"}, ["train/prod"]),
        (
            {"health": "nonsense", "sort": "name"},
            ["alone", "deploy/prod", "deploy/test", "train/prod"],
        ),
        ({"q": "BERT rolled"}, ["deploy/prod"]),
        ({"q": "prod", "environment": "live", "health": "failing"}, ["deploy/prod"]),
        ({"q": "nothing like it"}, []),
    ],
)
def test_the_address_says_which_and_in_which_order(query: dict[str, str], shown: list[str]) -> None:
    assert names(**query) == shown


def test_the_success_rate_is_of_those_that_can_be_judged() -> None:
    card = Card("f", bars=(bar(), bar("error"), bar("cancellation"), bar("timeout"), bar("")))
    assert card.success_rate == 1 / 3
    assert Card("f", bars=(bar("cancellation"),)).success_rate is None


def test_many_deployments_are_shown_in_pages() -> None:
    cards = [Card(f"f{n:03}") for n in range(2 * PAGE + 1)]
    parts = [part_of(cards, page) for page in (1, 2, 3, 4)]
    assert [(part.page, part.first, part.last) for part in parts] == [
        (1, 1, PAGE),
        (2, PAGE + 1, 2 * PAGE),
        (3, 2 * PAGE + 1, 2 * PAGE + 1),
        (3, 2 * PAGE + 1, 2 * PAGE + 1),
    ]
    assert [card for part in parts[:3] for card in part.cards] == cards
    assert part_of([], 7).pages == 1


@pytest.mark.parametrize(
    ("page", "number"),
    [("2", 2), ("0", 1), ("-1", 1), ("", 1), ("two", 1), ("²", 1), ("9" * 30, 1)],
)
def test_a_page_that_is_no_number_is_the_first(page: str, number: int) -> None:
    assert Query.of({"page": page}).page == number


def test_a_query_says_where_it_is_found() -> None:
    asked = {"q": "a&b", "environment": "live", "health": "late", "sort": "name", "page": "3"}
    query = Query.of(asked)
    assert query.address() == "/?q=a%26b&environment=live&health=late&sort=name&page=3"
    assert query.address(page=1, search="") == "/?environment=live&health=late&sort=name"
    assert Query().address() == "/"


def test_pages_lead_to_their_neighbours_with_the_same_query() -> None:
    cards = [Card(f"f{n:03}") for n in range(2 * PAGE + 1)]
    text = page(*cards, query=Query(search="f", page=2))
    assert f"{PAGE + 1} to {2 * PAGE} of {2 * PAGE + 1}" in text
    assert '<a rel="prev" href="/?q=f">' in text
    assert '<a rel="next" href="/?q=f&amp;page=3">' in text
    assert text.count('<th scope="row">') == PAGE
    assert "rel=" not in page(*cards[:PAGE]).partition("<main")[2]


def page(*cards: Card, query: Query | None = None, **frame: Any) -> str:
    return overview_page(cards, query or Query(), Frame(now=NOW, **frame))


def test_a_row_tells_all_that_there_is() -> None:
    text = page(
        Card(
            "deploy",
            "prod",
            environment="live",
            model="bert",
            version="3",
            health="failing",
            why="Its last 2 runs failed: ValueError.",
            message="Canary at 10 %",
            level="warning",
            stage="canary",
            said_at=NOW - 3 * MINUTE,
            active=3,
            now=Now("abc", "Running", "canary", 0.25, NOW - MINUTE),
            bars=(bar(), bar("failure", number=2)),
            next_due=NOW + 5 * MINUTE,
            gates=(GateSeen("accuracy", "fail", 0.376, 0.95),),
        )
    )
    for part in (
        "<strong>1</strong> deployment ",
        '<a class="badge failing" href="/?health=failing">1 failing</a>',
        'href="/deployments?flow=deploy&amp;deployment=prod"',
        "Its last 2 runs failed: ValueError.",
        "Canary at 10 %",
        "warning · canary ·",
        "3 minutes ago",
        'href="/runs/abc"',
        "and 2 more",
        '<progress max="1" value="0.25"',
        'href="/runs/run-2"',
        "50 %",
        "in 5 minutes",
        "accuracy 0.376",
        "of 0.95",
    ):
        assert part in text, part


def test_without_deployments_it_says_what_to_do() -> None:
    text = page(server="http://prefect.example")
    for part in ("No deployment has run yet", "prefect deployment run", "--backfill 7d"):
        assert part in text
    assert "http://prefect.example" in text


def test_where_none_is_like_that_all_can_be_shown() -> None:
    text = page(Card("f"), query=Query(search="x"))
    assert "None of the 1 deployments is like that." in text
    assert '<a href="/">Show all</a>' in text


def test_trouble_is_a_banner() -> None:
    assert '<p class="banner" role="alert">No sweep</p>' in page(Card("f"), trouble="No sweep")


def test_markup_in_every_field_stays_text() -> None:
    gate = GateSeen(MARKUP, MARKUP, 1.0, 1.0)
    one = Bar(MARKUP, MARKUP, MARKUP, 1.0, NOW)
    names = ("flow", "deployment", "environment", "model", "version", "why", "message")
    fields: dict[str, Any] = dict.fromkeys((*names, "level", "stage"), MARKUP)
    now = Now(MARKUP, MARKUP, MARKUP, 0.5)
    text = page(
        Card(**fields, health="late", now=now, bars=(one,), gates=(gate,)),
        query=Query(search=MARKUP, environment=MARKUP),
        server=MARKUP,
        trouble=MARKUP,
        title=MARKUP,
    )
    assert "<script>" not in text
    assert "onerror" not in text
    shown = page(Card(**fields, health="late", now=now, bars=(one,), gates=(gate,)), trouble=MARKUP)
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;") > 10
    assert shown.count("<script") == 1  # the page's own


def test_without_scripts_it_reloads() -> None:
    assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in page(Card("f"))
