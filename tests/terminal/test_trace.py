"""What `trace` prints, in each format, and the page that it opens."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from prefect_otel_status import trees
from prefect_otel_status.settings import Settings
from prefect_otel_status.terminal.trace import TraceFormat, as_html, open_page, write
from tests.support.replay import trace_of


def printed(name: str, style: TraceFormat, **environ: str) -> str:
    file = io.StringIO()
    write(trace_of(name), style, Console(file=file), environ=environ)
    return file.getvalue()


def test_a_tree_in_a_pipe_has_no_colours_and_its_own_width() -> None:
    lines = printed("failure.ours", TraceFormat.TREE).splitlines()
    assert lines[0].startswith("✗ RUN failure  failure")
    assert max(map(len, lines)) == 120
    assert "\x1b" not in "".join(lines)


def test_columns_say_how_wide_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    lines = printed("success.ours", TraceFormat.TREE, COLUMNS="70").splitlines()
    assert max(map(len, lines)) == 70


def test_json_is_one_object_with_each_span() -> None:
    found = json.loads(printed("failure.ours", TraceFormat.JSON))
    trace = trace_of("failure.ours")
    spans = found.pop("spans")
    assert found == {
        "run_id": trace.run.id,
        "run_name": trace.run.run_name,
        "flow": "failure",
        "deployment": None,
        "state": "Failed",
        "trace_id": f"{trace.spans[0].trace_id:032x}",
        "is_whole": True,
    }
    broken = next(span for span in spans if span["name"] == "broken")
    assert broken["result"] == "failure"
    assert broken["error"].endswith("ValueError: accuracy is not a number")
    assert broken["attributes"]["error.type"] == "ValueError"
    said = [e for e in broken["events"] if "prefect_status.message" in e["attributes"]]
    assert [event["attributes"]["prefect_status.message"] for event in said] == ["About to fail"]
    assert len(spans) == len(trace.spans)


def test_otlp_is_read_back_as_what_was_drawn(tmp_path: Path) -> None:
    text = printed("killed_served.ours", TraceFormat.OTLP, OTEL_SERVICE_NAME="mine")
    (tmp_path / "traces.jsonl").write_text(json.dumps(json.loads(text)))
    spans = trees.read_spans(tmp_path)
    trace = trace_of("killed_served.ours")
    assert [(s.name, s.start, s.end) for s in spans] == [
        (s.name, s.start, s.end) for s in trace.spans
    ]
    names = {
        pair["value"]["stringValue"]
        for resource in json.loads(text)["resourceSpans"]
        for pair in resource["resource"]["attributes"]
        if pair["key"] == "service.name"
    }
    assert names == {"mine"}


def test_html_is_a_page_that_loads_nothing() -> None:
    page = printed("success.ours", TraceFormat.HTML)
    assert page == as_html(trace_of("success.ours")) + "\n"
    assert "Scored bert: 93.0%" in page
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_is_opened_and_is_its_owners(tmp_path: Path) -> None:
    opened: list[str] = []
    trace = trace_of("success.ours")

    def browser(address: str) -> bool:
        opened.append(address)
        return True

    assert open_page(trace, Settings(folder=tmp_path), browser) is None
    page = tmp_path / "pages" / f"{trace.run.id}.html"
    assert opened == [page.as_uri()]
    assert page.read_text(encoding="utf-8") == as_html(trace)
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_without_a_browser_it_says_where_the_page_is(tmp_path: Path) -> None:
    def none(address: str) -> bool:
        return False

    found: Any = open_page(trace_of("success.ours"), Settings(folder=tmp_path), none)
    assert found.exists()
