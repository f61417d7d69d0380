"""Reading all pages of a list that changes while it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

Rows = list[msgspec.Raw]


class _Identified(msgspec.Struct):
    id: str


_ID = msgspec.json.Decoder(_Identified)


async def all_rows(fetch: Callable[[int], Awaitable[Rows]], *, size: int) -> AsyncIterator[Rows]:
    """The pages of FETCH, which takes an offset and gives up to SIZE rows; each row once.

    Rows that leave the list shift the later ones up, so that reading on would
    skip some. Hence each page begins with the last row of the one before, and
    where that is no longer there, reading goes back a little.
    """
    seen: set[str | bytes] = set()
    offset, is_last = 0, False
    while not is_last:
        rows = await fetch(offset)
        keys = [_key(row) for row in rows]
        if offset and not (keys and keys[0] in seen):
            offset = max(0, offset - max(1, size // 2))
            continue
        new = [row for key, row in zip(keys, rows, strict=True) if key not in seen]
        seen.update(keys)
        if new:
            yield new
        offset, is_last = offset + size - 1, len(rows) < size


def _key(row: msgspec.Raw) -> str | bytes:
    try:
        return _ID.decode(row).id
    except (msgspec.DecodeError, ValueError, RecursionError):
        return bytes(row)
