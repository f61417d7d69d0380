"""The page that says what is wrong."""

from __future__ import annotations

from dataclasses import replace

from prefect_otel_status.web.frame import Frame
from prefect_otel_status.web.templating import render

_TITLES = {400: "That cannot be asked", 404: "Not here", 503: "Not now"}


def error_page(status: int, sentence: str, frame: Frame) -> str:
    """SENTENCE as a page; STATUS is HTTP's."""
    title = _TITLES.get(status, "Something is wrong")
    values = {"title": title, "sentence": sentence}
    return render("error.html", now=frame.now, frame=replace(frame, title=title), **values)
