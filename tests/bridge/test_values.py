"""The values of series, and their stored form."""

from __future__ import annotations

import pytest

from prefect_otel_status import signals
from prefect_otel_status.bridge.values import (
    BOUNDS_VERSION,
    Buckets,
    bucket_of,
    decode,
    encode,
    zero,
)


def test_the_bounds_have_the_version_that_is_stored_with_them() -> None:
    # Whoever changes the bounds raises the version, and both here.
    assert (
        *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
        *(120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0),
    ) == signals.DURATION_BOUNDS
    assert BOUNDS_VERSION == 1


@pytest.mark.parametrize(
    ("value", "place"), [(0.0, 0), (0.1, 0), (0.11, 1), (86400.0, 17), (86400.1, 18)]
)
def test_a_bound_belongs_to_the_bucket_that_it_closes(value: float, place: int) -> None:
    counts = Buckets().seeing(value).counts
    assert (bucket_of(value), counts) == (place, (*[0] * place, 1, *[0] * (18 - place)))


def test_values_come_back_as_they_were_stored() -> None:
    seen = Buckets().seeing(0.3).seeing(12.5)
    assert decode(signals.RUN_DURATION, encode(seen)) == seen
    assert decode(signals.RUN_ERRORS, encode(2.0**53)) == 2.0**53
    assert decode(signals.RUN_DURATION, encode(zero(signals.RUN_DURATION))) == Buckets()
    assert decode(signals.RUN_ERRORS, encode(zero(signals.RUN_ERRORS))) == 0.0


def test_a_histogram_of_other_bounds_is_not_taken_for_one_of_these() -> None:
    assert decode(signals.RUN_DURATION, encode(Buckets(bounds=2))) is None
    assert decode(signals.RUN_DURATION, encode(Buckets(counts=(1, 2)))) is None
