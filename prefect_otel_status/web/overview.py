"""The overview: one row a deployment; which of them, and in which order. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from prefect_otel_status.web.bars import Bar
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.templating import render

HEALTHS = ("failing", "late", "healthy", "unknown")
"""How a deployment can be, the worst first."""

PAGE = 100
"""Deployments on a page: with more of them a browser is slow, and nobody reads on."""


@dataclass(frozen=True)
class GateSeen:
    """How a gate was last decided."""

    name: str
    decision: str
    score: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Now:
    """The run that goes on and spoke last. `progress` is from 0 to 1."""

    run_id: str
    state: str = ""
    stage: str = ""
    progress: float | None = None
    started: int = 0


@dataclass(frozen=True)
class Card:
    """A deployment. Times are in nanoseconds since 1970, 0 for none; `bars` begin with the oldest.

    `deployment` is empty for the runs of a flow that have none.
    """

    flow: str
    deployment: str = ""
    environment: str = ""
    model: str = ""
    version: str = ""
    health: str = "unknown"
    why: str = ""
    message: str = ""
    level: str = ""
    stage: str = ""
    said_at: int = 0
    active: int = 0
    now: Now | None = None
    bars: tuple[Bar, ...] = ()
    next_due: int = 0
    last_ended: int = 0
    last_success: int = 0
    gates: tuple[GateSeen, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.flow}/{self.deployment}" if self.deployment else self.flow

    @property
    def success_rate(self) -> float | None:
        """The share of the runs shown that succeeded, of those that succeeded or failed."""
        judged = [bar for bar in self.bars if bar.is_error or bar.result == "success"]
        return sum(not bar.is_error for bar in judged) / len(judged) if judged else None


@dataclass(frozen=True)
class Query:
    """What the address asks for; empty is all."""

    search: str = ""
    environment: str = ""
    health: str = ""
    sort: str = "health"
    page: int = 1

    @staticmethod
    def of(parameters: Mapping[str, str]) -> Query:
        """The query in PARAMETERS; what is not known there is as if it were not said."""
        sort = parameters.get("sort", "")
        health = parameters.get("health", "")
        return Query(
            search=parameters.get("q", "").strip()[:200],
            environment=parameters.get("environment", ""),
            health=health if health in HEALTHS else "",
            sort=sort if sort in SORTS else "health",
            page=_number(parameters.get("page", "")),
        )

    def address(self, **changes: Any) -> str:
        """Where the overview is found with this query, after CHANGES."""
        query = replace(self, **changes)
        values = {
            "q": query.search,
            "environment": query.environment,
            "health": query.health,
            "sort": query.sort if query.sort != "health" else "",
            "page": query.page if query.page > 1 else "",
        }
        given = urlencode({name: value for name, value in values.items() if value})
        return f"/?{given}" if given else "/"


@dataclass(frozen=True)
class Part:
    """A page of the cards: those from `first` to `last`, counted from 1, of `total`."""

    cards: Sequence[Card]
    page: int
    pages: int
    total: int

    @property
    def first(self) -> int:
        return (self.page - 1) * PAGE + 1

    @property
    def last(self) -> int:
        return self.first + len(self.cards) - 1


def part_of(cards: Sequence[Card], page: int) -> Part:
    """The PAGE of CARDS, counted from 1; the last where there are not so many."""
    pages = max(1, -(-len(cards) // PAGE))
    page = min(page, pages)
    return Part(cards[(page - 1) * PAGE : page * PAGE], page, pages, len(cards))


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _by_health(card: Card) -> Any:
    return HEALTHS.index(card.health), -max(card.said_at, card.last_ended), card.name


SORTS: dict[str, tuple[str, Callable[[Card], Any]]] = {
    "health": ("Worst first", _by_health),
    "name": ("Name", lambda card: card.name),
    "latest": ("Latest first", lambda card: (-max(card.said_at, card.last_ended), card.name)),
    "success": (
        "Success rate",
        lambda card: (2.0 if card.success_rate is None else card.success_rate, card.name),
    ),
}
"""The orders, by their names in the address."""


def chosen(cards: Sequence[Card], query: Query) -> list[Card]:
    """Those of CARDS that QUERY asks for, in its order."""
    words = query.search.lower().split()
    found = [
        card
        for card in cards
        if (not query.environment or card.environment == query.environment)
        and (not query.health or card.health == query.health)
        and all(word in _searched(card) for word in words)
    ]
    return sorted(found, key=SORTS[query.sort][1])


def _searched(card: Card) -> str:
    return f"{card.name} {card.environment} {card.model} {card.version} {card.message}".lower()


def overview_page(cards: Sequence[Card], query: Query, frame: Frame) -> str:
    """The page of CARDS as QUERY asks for them."""
    counts = Counter(card.health for card in cards)
    return render(
        "overview.html",
        now=frame.now,
        frame=replace(frame, title="Deployments"),
        part=part_of(chosen(cards, query), query.page),
        total=len(cards),
        counts=[(health, counts[health]) for health in HEALTHS if counts[health]],
        environments=sorted({card.environment for card in cards if card.environment}),
        query=query,
        healths=HEALTHS,
        sorts={name: label for name, (label, _) in SORTS.items()},
    )
