"""The values of counters, gauges and histograms, as they are in memory and in the store."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from prefect_otel_status.signals import DURATION_BOUNDS, Kind, Metric

BOUNDS_VERSION = 1
"""Goes up when `DURATION_BOUNDS` changes: counts by other bounds must not be added to."""


class Buckets(msgspec.Struct, frozen=True, array_like=True):
    """A histogram: how many values fell into each bucket (not cumulative), and their sum."""

    bounds: int = BOUNDS_VERSION
    counts: tuple[int, ...] = (0,) * (len(DURATION_BOUNDS) + 1)
    sum: float = 0.0

    def seeing(self, value: float) -> Buckets:
        """These with VALUE in its bucket; a bound belongs to the bucket that it closes."""
        place = bucket_of(value)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return Buckets(self.bounds, counts, self.sum + value)


Value = float | Buckets
"""A number, or the buckets of a histogram."""


class Exemplar(msgspec.Struct, frozen=True):
    """A trace in which a counter went up or a histogram saw VALUE, at nanoseconds since 1970."""

    trace_id: str
    value: float
    at: int


Exemplars = tuple[Exemplar | None, ...]
"""One for each bucket of a histogram; a single one for a counter."""


class Series(msgspec.Struct, frozen=True):
    """The true value of a series, the one that a scrape may see, and when it last went up.

    For a gauge `stepped` is when its value was read.
    """

    value: Value
    shown: Value
    stepped: int = 0


def bucket_of(value: float) -> int:
    """The place of VALUE, in seconds, among the buckets."""
    return bisect_left(DURATION_BOUNDS, value)


def zero(metric: Metric) -> Value:
    """What a series of METRIC has before its first step."""
    return Buckets() if metric.kind is Kind.HISTOGRAM else 0.0


def encode(value: Value) -> bytes:
    """VALUE as it is stored: JSON, so that a person can read it."""
    return msgspec.json.encode(value)


def decode(metric: Metric, raw: bytes) -> Value | None:
    """The value of METRIC that is stored as RAW; None if it was counted by other bounds."""
    if metric.kind is not Kind.HISTOGRAM:
        return msgspec.json.decode(raw, type=float)
    found = msgspec.json.decode(raw, type=Buckets)
    known = found.bounds == BOUNDS_VERSION and len(found.counts) == len(DURATION_BOUNDS) + 1
    return found if known else None
