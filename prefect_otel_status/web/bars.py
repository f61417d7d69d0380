"""Runs that have ended as bars: as high as they took long, failures hanging down. Pure.

The overview has thousands of them, so they are written here and not by a template,
and those of a deployment are written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from prefect_otel_status.trees import duration
from prefect_otel_status.web.moments import utc

SLOTS = 30
"""Bars for which there is room."""

WRITTEN = 1_000
"""Deployments whose bars are not written anew, as long as they are the same."""

_ERRORS = frozenset({"failure", "error", "timeout"})
_LOW = 0.15
"""The least height of a bar, as a share: the shortest run must be seen too."""

_SLOT = 6
_UP, _DOWN = 18, 14
_CHART = 120
"""Pixels that the bars of the chart have for their heights."""

_SPOKEN = "The last {} runs, the latest on the right; failures hang down"


@dataclass(frozen=True)
class Bar:
    """A run that has ended, as a bar. `ended` is in nanoseconds since 1970."""

    run_id: str
    name: str
    result: str
    seconds: float
    ended: int

    @property
    def is_error(self) -> bool:
        return self.result in _ERRORS

    @property
    def words(self) -> str:
        """What is said of it where it is pointed at."""
        took = length(self.seconds)
        return f"{self.name}: {self.result or 'no result'}, {took}, ended {utc(self.ended)}"


def length(seconds: float) -> str:
    """SECONDS for the eye."""
    return duration(int(seconds * 1e9))


def heights(bars: Sequence[Bar]) -> list[float]:
    """How high each of BARS is, from 0 to 1, against the longest."""
    longest = max((bar.seconds for bar in bars), default=0.0)
    return [max(_LOW, bar.seconds / longest if longest else 0.0) for bar in bars]


@lru_cache(WRITTEN)
def small_bars(bars: tuple[Bar, ...]) -> str:
    """BARS, the oldest first, in a row of the overview. HTML; all text is escaped."""
    first = max(0, SLOTS - len(bars))
    drawn = "".join(
        _small(bar, height, (first + i) * _SLOT)
        for i, (bar, height) in enumerate(zip(bars, heights(bars), strict=True))
    )
    width, height = SLOTS * _SLOT, _UP + _DOWN
    return (
        f'<svg class="runs" width="{width}" height="{height}" role="group" '
        f'aria-label="{_SPOKEN.format(len(bars))}">'
        f'<path class="base" d="M0 {_UP}.5h{width}"/>{drawn}</svg>'
    )


def _small(bar: Bar, height: float, x: int) -> str:
    tall = height * (_DOWN - 1 if bar.is_error else _UP)
    y = _UP + 1 if bar.is_error else _UP - tall
    target = f'<path class="target" d="M{x} 0h{_SLOT}v{_UP + _DOWN}h-{_SLOT}z"/>'
    rect = f'<rect {_kind(bar)} x="{x + 1}" width="4" y="{y:.4g}" height="{tall:.4g}"/>'
    return _linked(bar, target + rect)


def chart(bars: Sequence[Bar]) -> str:
    """BARS, the oldest first, as a chart of how long they took. HTML; all text is escaped.

    Up and down have one scale: a failure of a minute is as long as a success of a minute.
    """
    up, down = (_longest(bars, failed=failed) for failed in (False, True))
    scale = _CHART / ((up + down) or 1.0)
    zero = round(up * scale, 1)
    slot = 100 / max(len(bars), SLOTS)
    drawn = "".join(_tall(bar, i * slot, slot, zero, scale) for i, bar in enumerate(bars))
    return (
        f'<svg class="runs chart" height="{_CHART + 2}" role="group" '
        f'aria-label="{_SPOKEN.format(len(bars))}">'
        f'<line class="base" x1="0" x2="100%" y1="{zero}" y2="{zero}"/>{drawn}</svg>'
    )


def _longest(bars: Sequence[Bar], *, failed: bool) -> float:
    return max((bar.seconds for bar in bars if bar.is_error is failed), default=0.0)


def _tall(bar: Bar, x: float, slot: float, zero: float, scale: float) -> str:
    tall = max(3.0, bar.seconds * scale)
    y = zero + 1 if bar.is_error else max(0.0, zero - tall)
    place = f'x="{x + slot * 0.12:.4g}%" width="{slot * 0.76:.4g}%"'
    target = f'<rect class="target" x="{x:.4g}%" width="{slot:.4g}%" height="100%"/>'
    return _linked(bar, f'{target}<rect {_kind(bar)} {place} y="{y:.4g}" height="{tall:.4g}"/>')


def _kind(bar: Bar) -> str:
    return f'class="{escape(bar.result or "none")}"'


def _linked(bar: Bar, drawn: str) -> str:
    return f'<a href="/runs/{escape(bar.run_id)}"><title>{escape(bar.words)}</title>{drawn}</a>'
