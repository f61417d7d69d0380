"""The page of one deployment: how it is, what its runs said, how long they took, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prefect_otel_status.web.bars import Bar
from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.overview import Card
from prefect_otel_status.web.templating import render

SHOWN = 60
"""Statuses of the feed."""


@dataclass(frozen=True)
class SaidIn:
    """A status and the run that said it. `at` is in nanoseconds since 1970."""

    at: int
    message: str
    level: str
    stage: str
    run_id: str
    run_name: str = ""


@dataclass(frozen=True)
class Past:
    """A run that has ended, with what is told of it only here."""

    bar: Bar
    version: str = ""
    error_type: str = ""
    error: str = ""


@dataclass(frozen=True)
class Failures:
    """Runs that failed alike."""

    kind: str
    words: str
    count: int
    last: int
    run_id: str


@dataclass(frozen=True)
class Version:
    """The runs of one version of the model."""

    name: str
    runs: int
    succeeded: int
    last: int


def deployment_page(
    card: Card,
    past: Sequence[Past],
    feed: Sequence[SaidIn],
    *,
    links: Mapping[str, str],
    frame: Frame,
) -> str:
    """The page of CARD. PAST begins with the latest run. LINKS lead to its last run elsewhere."""
    return render(
        "deployment.html",
        now=frame.now,
        frame=replace(frame, title=f"{card.name}: {card.health}"),
        card=card,
        links=links,
        runs=[each.bar for each in past],
        feed=latest(feed),
        errors=failures(past),
        versions=versions(past),
    )


def latest(feed: Sequence[SaidIn]) -> list[SaidIn]:
    """FEED, the latest first, as much of it as is shown."""
    return sorted(feed, key=lambda said: (said.at, said.message), reverse=True)[:SHOWN]


def failures(past: Sequence[Past]) -> list[Failures]:
    """The failed runs of PAST by their error, the most frequent first."""
    failed = [each for each in past if each.bar.is_error]
    counts = Counter(each.error_type for each in failed)
    first = {each.error_type: each for each in reversed(failed)}
    return [
        Failures(kind, first[kind].error, count, first[kind].bar.ended, first[kind].bar.run_id)
        for kind, count in counts.most_common()
    ]


def versions(past: Sequence[Past]) -> list[Version]:
    """The runs of PAST by the version that they bound, the latest first."""
    named = [each for each in past if each.version]
    found: dict[str, list[Past]] = {}
    for each in named:
        found.setdefault(each.version, []).append(each)
    return [
        Version(
            name,
            runs=len(runs),
            succeeded=sum(each.bar.result == "success" for each in runs),
            last=runs[0].bar.ended,
        )
        for name, runs in found.items()
    ]
