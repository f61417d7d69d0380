"""When a series that is held may go on."""

from __future__ import annotations

from prefect_otel_status.bridge.holding import Holding


def test_a_series_is_held_from_the_first_scrape_that_showed_it_for_the_period() -> None:
    holding: Holding[str] = Holding(10)
    holding.hold("a")
    assert holding.due(10**9) == []  # no scrape has shown it
    holding.note_scrape(100)
    holding.note_scrape(109)  # a second scrape does not begin anew
    assert holding.due(109) == []
    assert holding.due(110) == ["a"]
    holding.release("a")
    assert (holding.due(200), "a" in holding) == ([], False)


def test_each_series_has_its_own_time() -> None:
    holding: Holding[str] = Holding(10)
    holding.hold("a")
    holding.note_scrape(100)
    holding.hold("b")
    holding.note_scrape(105)
    holding.hold("c")
    assert [holding.due(now) for now in (110, 114, 115)] == [["a"], ["a"], ["a", "b"]]
    assert [key in holding for key in "abcd"] == [True, True, True, False]


def test_what_is_held_again_waits_again() -> None:
    holding: Holding[str] = Holding(10)
    holding.hold("a")
    holding.note_scrape(100)
    holding.hold("a")
    assert holding.due(200) == []
    holding.note_scrape(200)
    assert holding.due(210) == ["a"]
