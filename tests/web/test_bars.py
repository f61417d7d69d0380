"""Runs as bars: how high, which way, what they say and where they lead."""

from __future__ import annotations

import re

from prefect_otel_status.web.bars import Bar, chart, heights, small_bars

AT = 1_795_514_400 * 10**9
MARKUP = "<script>alert(1)</script>\"'&"


def bar(result: str = "success", seconds: float = 1.0, number: int = 1) -> Bar:
    return Bar(f"run-{number}", f"name-{number}", result, seconds, AT)


def rects(text: str) -> list[tuple[str, float, float]]:
    """The bars that TEXT draws: class, upper end, height."""
    found = re.findall(r'<rect class="(?!target)(\w+)" [^/]*?y="([\d.]+)" height="([\d.]+)"', text)
    return [(kind, float(y), float(height)) for kind, y, height in found]


def test_a_bar_is_as_high_as_its_run_was_long_and_never_nothing() -> None:
    assert heights([bar(seconds=10), bar(seconds=5), bar(seconds=0)]) == [1.0, 0.5, 0.15]
    assert heights([bar(seconds=0)]) == [0.15]
    assert heights([]) == []


def test_failures_hang_down_in_a_row_and_the_latest_is_on_the_right() -> None:
    text = small_bars((bar(seconds=2), bar("timeout", 1), bar("", 2)))
    assert rects(text) == [("success", 0.0, 18.0), ("timeout", 19.0, 6.5), ("none", 0.0, 18.0)]
    assert re.findall(r'd="M(\d+) 0h6', text) == ["162", "168", "174"]


def test_a_bar_says_what_it_is_and_leads_to_its_run() -> None:
    words = "name-1: success, 1.00 s, ended 2026-11-24 10:00:00 UTC"
    for text in (small_bars((bar(),)), chart([bar()])):
        assert f'<a href="/runs/run-1"><title>{words}</title>' in text
        assert "The last 1 runs" in text


def test_the_chart_has_one_scale_for_both_ways() -> None:
    text = chart([bar(seconds=2), bar("failure", 1), bar(seconds=0)])
    assert 'y1="80.0"' in text
    assert rects(text) == [("success", 0.0, 80.0), ("failure", 81.0, 40.0), ("success", 77.0, 3.0)]


def test_a_chart_of_failures_alone_hangs_from_its_upper_end() -> None:
    assert rects(chart([bar("error", 2)])) == [("error", 1.0, 120.0)]
    assert rects(chart([bar(seconds=0)])) == [("success", 0.0, 3.0)]


def test_a_chart_of_many_runs_has_room_for_each() -> None:
    places = [float(x) for x in re.findall(r'target" x="([\d.e-]+)%"', chart([bar()] * 40))]
    assert places == [2.5 * n for n in range(40)]


def test_markup_is_text() -> None:
    one = (Bar(MARKUP, MARKUP, MARKUP, 1.0, AT),)
    for text in (small_bars(one), chart(one)):
        assert "<script" not in text
        assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;") == 4
