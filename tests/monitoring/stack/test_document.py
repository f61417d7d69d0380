"""YAML with comments."""

from __future__ import annotations

import yaml

from prefect_otel_status.monitoring.stack.document import HEAD, document

LONG = "A reason that is longer than one line of the file may be, since it says " + "so " * 12


def test_comments_stand_where_they_were_put() -> None:
    text = document(
        "What it is.",
        {
            "#": "First.",
            "one": {"#": "Inside.", "deep": {"#": "Deeper.", "true": True}},
            "list": ["# An item follows.", "item", {"name": "other", "#2": "After a name."}],
        },
    )
    assert text == (
        f"# {HEAD}\n"
        "# What it is.\n"
        "# First.\n"
        "one:\n"
        "  # Inside.\n"
        "  deep:\n"
        "    # Deeper.\n"
        "    'true': true\n"
        "list:\n"
        "  # An item follows.\n"
        "  - item\n"
        "  - name: other\n"
        "    # After a name.\n"
    )


def test_a_comment_is_never_read() -> None:
    body = {"#": LONG, "channel": "#alerts", "list": ["# a", "b"], "text": "two\nlines: # yes\n"}
    text = document(LONG, body)
    assert yaml.safe_load(text) == {
        "channel": "#alerts",
        "list": ["b"],
        "text": "two\nlines: # yes\n",
    }
    assert max(map(len, text.splitlines())) <= 98


def test_the_same_thing_twice_is_written_twice() -> None:
    shared = ["a"]
    assert document("It.", {"one": shared, "two": shared}).endswith("one:\n  - a\ntwo:\n  - a\n")
