"""What can be made to go wrong, so that one can see how it is told."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, TypeVar

from examples.deploy_model.lock import replay_lock
from examples.deploy_model.training import Images

Fault = Literal["weak", "busy", "slow"]
"""`weak`: hardly any images to train on. `busy`: the first replay finds its lock taken.
`slow`: the requests come in slowly, which leaves the time to kill the run."""

T = TypeVar("T")
_FEW = 20
_SECONDS_A_REQUEST = 0.05


def training_images(fault: Fault | None, images: Images) -> Images:
    """IMAGES, or too few of them for a good model."""
    return images.first(_FEW) if fault == "weak" else images


def lock_taken(fault: Fault | None, home: Path, *, attempt: int) -> AbstractContextManager[object]:
    """Hold the lock of HOME as another deployment would, if this is the first ATTEMPT."""
    return replay_lock(home) if fault == "busy" and attempt == 1 else nullcontext()


def paced(fault: Fault | None, requests: Iterable[T]) -> Iterator[T]:
    """REQUESTS, as fast as they are taken or at the pace of slow clients."""
    for request in requests:
        if fault == "slow":
            time.sleep(_SECONDS_A_REQUEST)
        yield request
