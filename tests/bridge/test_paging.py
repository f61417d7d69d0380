"""Reading lists that change meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_otel_status.bridge.paging import Rows, all_rows

Change = Callable[[list[int]], None]


def rows_of(numbers: list[int]) -> Rows:
    return [msgspec.Raw(f'{{"id":"{number}"}}'.encode()) for number in numbers]


async def read(numbers: list[int], *, size: int, change: Change) -> list[int]:
    async def fetch(offset: int) -> Rows:
        page = rows_of(numbers[offset : offset + size])
        change(numbers)
        return page

    pages = [page async for page in all_rows(fetch, size=size)]
    return [int(msgspec.json.decode(row)["id"]) for page in pages for row in page]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 250])
async def test_reads_each_row_once(count: int) -> None:
    found = await read(list(range(count)), size=10, change=lambda numbers: None)
    assert found == list(range(count))


async def test_skips_nothing_when_all_that_was_read_leaves() -> None:
    left = []

    def leave(numbers: list[int]) -> None:
        if not left:
            left.extend(numbers[:10])
            del numbers[:10]

    assert await read(list(range(25)), size=10, change=leave) == list(range(25))


@given(st.lists(st.integers(0, 29), max_size=10), st.integers(2, 7))
def test_skips_nothing_that_stays(leaving: list[int], size: int) -> None:
    import asyncio

    gone: set[int] = set()

    def leave_and_come(numbers: list[int]) -> None:
        if leaving:
            number = leaving.pop()
            gone.add(number)
            numbers[:] = [1000 + len(gone), *(n for n in numbers if n != number)]

    found = asyncio.run(read(list(range(30)), size=size, change=leave_and_come))
    assert len(found) == len(set(found))
    assert set(range(30)) - gone <= set(found)


async def test_rows_without_an_id_are_rows_too() -> None:
    rows = [msgspec.Raw(text) for text in (b"1", b"{}", b'{"id":7}', b'{"id":"a"}')]

    async def fetch(offset: int) -> Rows:
        return rows[offset : offset + 2]

    assert [row async for page in all_rows(fetch, size=2) for row in page] == rows
