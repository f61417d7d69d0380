"""What was seen already, within bounds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Memory(Generic[K]):
    """Keys with a time each; beyond LIMIT it forgets the one that came first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: OrderedDict[K, int] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, key: K, at: int = 0) -> bool:
        """Remember KEY, of the time AT; whether it is new."""
        if key in self._seen:
            return False
        self._seen[key] = at
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return True

    def count(self, since: int, until: int) -> int:
        """How many are of a time from SINCE to UNTIL."""
        return sum(since <= at <= until for at in self._seen.values())
