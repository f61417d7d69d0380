"""What was seen already, within bounds."""

from __future__ import annotations

from prefect_otel_status.terminal.memory import Memory


def test_a_key_is_new_once() -> None:
    memory: Memory[str] = Memory(10)
    assert [memory.add("a"), memory.add("b"), memory.add("a")] == [True, True, False]
    assert ("a" in memory, "c" in memory, len(memory)) == (True, False, 2)


def test_beyond_its_limit_it_forgets_the_one_that_came_first() -> None:
    memory: Memory[int] = Memory(3)
    for key in range(5):
        memory.add(key)
    assert [key in memory for key in range(5)] == [False, False, True, True, True]
    assert len(memory) == 3


def test_it_counts_what_is_of_a_time_within_its_edges() -> None:
    memory: Memory[str] = Memory(10)
    for key, at in (("a", 1), ("b", 5), ("c", 9)):
        memory.add(key, at)
    assert [memory.count(*window) for window in ((1, 9), (2, 9), (5, 5), (10, 20))] == [3, 2, 1, 0]
