"""The trial of a candidate: it answers a growing share of the recorded requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from examples.deploy_model.training import Images

STEPS = (0.1, 0.5, 1.0)
"""The share of the requests that the candidate answers, step by step."""


def routed(requests: Images, share: float) -> Images:
    """Those of REQUESTS that go to the candidate: SHARE of them, at least one."""
    return requests.first(max(1, round(share * len(requests))))


def answers(model: Any, requests: Images) -> Iterator[int]:
    """What MODEL answers to each of REQUESTS, one at a time as they would come in."""
    for pixels in requests.pixels:
        yield int(model.predict([pixels])[0])
