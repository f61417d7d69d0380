"""The waterfall in a terminal, as a person sees it."""

from __future__ import annotations

from prefect_otel_status.bridge.shown import shown
from prefect_otel_status.terminal.waterfall import lines
from prefect_otel_status.waterfall import waterfall
from tests.support.replay import trace_of


def text_of(name: str, *, width: int) -> str:
    found = waterfall(shown(trace_of(name).spans))
    return "\n".join(line.plain for line in lines(found, width=width)) + "\n"


def test_what_ran_when_and_what_it_said() -> None:
    assert text_of("success.ours", width=80) == (
        "✓ RUN success       496 ms  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━◆━━━━━━━━━━━━━━\n"
        "│  +0.36 s  info     Gate accuracy passed: 0.93 against 0.9\n"
        "├── ✓ evaluate       90 ms                              ━━━━━━━━━\n"
        "│   ├── ✓ load        3 ms                                      ◆\n"
        "│   │      +0.35 s  info     Loaded 12 rows  [evaluate]\n"
        "│   └── ✓ score       3 ms                                       ◆\n"
        "│          +0.36 s  info     Scored bert: 93.0%  [evaluate]\n"
        "└── ✓ promote        12 ms                                       ◆\n"
        "    │  +0.37 s  info     Promoted bert\n"
        "    └── ✓ load        8 ms                                       ◆\n"
        "           +0.37 s  info     Loaded 13 rows  [promote]\n"
    )


def test_where_bars_have_no_room_there_are_none() -> None:
    assert text_of("killed_served.ours", width=40) == (
        "✗ RUN killed-served  error      17.90 s\n"
        "│  +0.03 s  Submitting\n"
        "│ +14.11 s  info     Started\n"
        "│ +17.90 s  Crashed\n"
        "│           Process exited with status code: -9. Process exited due to a SIGKILL signal. "
        "Typically caused by the operating system terminating the process for exceeding memory "
        "limits, or by manual cancellation.\n"
        "├── ✓ load                        13 ms\n"
        "│     +14.74 s  info     Loaded\n"
        "└── ✗ evaluate  error            3.14 s\n"
        "    │           Left open when the process died.\n"
        "    └── ✗ killed_task  error     3.14 s\n"
        "          +14.77 s  info     About to be killed  [evaluate]\n"
        "                    Left running when its flow run ended.\n"
    )


def test_bars_end_at_the_edge() -> None:
    widths = [
        len(line.plain)
        for line in lines(waterfall(shown(trace_of("mapped.ours").spans)), width=90)
        if "━" in line.plain or "◆" in line.plain
    ]
    assert max(widths) == 90
