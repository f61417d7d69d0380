"""Rounds in turns, and what they say: medians with quartiles, and ratios round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Measure = Callable[[], float]


@dataclass(frozen=True)
class Spread:
    """A median and its quartiles."""

    low: float
    middle: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """The spread of VALUES, of which there are at least two."""
        return Spread(*statistics.quantiles(values, n=4, method="inclusive"))

    def told(self, form: str = ",.1f") -> str:
        """For the eye: the median, and the quartiles behind it."""
        return f"{self.middle:{form}} ({self.low:{form}} to {self.high:{form}})"


def in_turns(sides: Mapping[str, Measure], *, rounds: int) -> dict[str, list[float]]:
    """What each of SIDES measures, in turns, after a round that does not count."""
    for measure in sides.values():
        measure()
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides.items())
        for name, measure in order if number % 2 else reversed(order):
            found[name].append(measure())
    return found


def ratios(found: Mapping[str, Sequence[float]], *, of: str, to: str) -> Spread:
    """The ratio OF one side TO another, round by round: what a busy machine does to both goes."""
    return Spread.of([a / b for a, b in zip(found[of], found[to], strict=True)])


def report(
    title: str, found: Mapping[str, Sequence[float]], *, of: str, to: str, unit: str
) -> None:
    """Print FOUND, and how many times the side OF is the side TO."""
    print(title)
    for name, values in found.items():
        print(f"  {name:42} {Spread.of(values).told()} {unit}")
    print(f"  {'ratio, round by round':42} {ratios(found, of=of, to=to).told('.2f')}")
