"""What `lint` says about code, and where it stays silent. Nothing here is imported or run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from prefect_otel_status import templates
from prefect_otel_status.lint import (
    Finding,
    as_github,
    as_json,
    as_text,
    lint_paths,
    lint_source,
)

OURS = "from prefect_otel_status import stage, status, track\n"
BUILT = "makes a new template of every value; "
FIELDS = "write '{field}' in the template and pass field=... as a keyword attribute"
LOOP = (
    "status() speaks in every round of this loop; "
    "loop over track(items, '...'), or speak once after the loop"
)


def found(source: str, **options: Any) -> list[tuple[int, int, str, str]]:
    """Line, column, code and message of each finding; the imports are line 0."""
    findings = lint_source(OURS + dedent(source), "flow.py", **options)
    assert {finding.path for finding in findings} <= {"flow.py"}
    return [(each.line - 1, each.column, each.code, each.message) for each in findings]


def codes(source: str, **options: Any) -> list[str]:
    return [code for _, _, code, _ in found(source, **options)]


# --- POS001: a template that is built ----------------------------------------


@pytest.mark.parametrize(
    ("call", "column", "message"),
    [
        (
            'status(f"Scored {model}")',
            8,
            f"an f-string {BUILT}write 'Scored {{model}}' and pass model=model",
        ),
        (
            'status(f"{run.model!r:>8} has {accuracy:.1%} of {{all}}", event="scored")',
            8,
            f"an f-string {BUILT}write '{{model!r:>8}} has {{accuracy:.1%}} of {{{{all}}}}' "
            "and pass model=run.model, accuracy=accuracy",
        ),
        (
            'status(f"{model} against {model}")',
            8,
            f"an f-string {BUILT}write '{{model}} against {{model}}' and pass model=model",
        ),
        ('status(f"{len(rows)} rows")', 8, f"an f-string {BUILT}{FIELDS}"),
        ('status(f"{old.name} and {new.name}")', 8, f"an f-string {BUILT}{FIELDS}"),
        ('status(f"{score:.{digits}f}")', 8, f"an f-string {BUILT}{FIELDS}"),
        ('status(f"{model}", model=other)', 8, f"an f-string {BUILT}{FIELDS}"),
        ('status(f"{model}", **values)', 8, f"an f-string {BUILT}{FIELDS}"),
        ('status(f"{stage}")', 8, f"an f-string {BUILT}{FIELDS}"),
        ('track(rows, f"{total} rows")', 13, f"an f-string {BUILT}{FIELDS}"),
        (
            'track(rows, f"Reading {name}")',
            13,
            f"an f-string {BUILT}write 'Reading {{name}}' and pass name=name",
        ),
        ('status("Scored {}".format(model))', 8, f"format() {BUILT}{FIELDS}"),
        ("status(TEXT.format_map(values))", 8, f"format_map() {BUILT}{FIELDS}"),
        ('status("Scored %s" % model)', 8, f"a '%' expression {BUILT}{FIELDS}"),
        ('status("Scored " + model)', 8, f"a concatenation {BUILT}{FIELDS}"),
        ('status("a" + model + "b")', 8, f"a concatenation {BUILT}{FIELDS}"),
    ],
)
def test_a_built_template_is_found(call: str, column: int, message: str) -> None:
    assert found(call) == [(1, column, "POS001", message)]


def test_both_sides_of_a_conditional_template_are_looked_at() -> None:
    call = 'status("Passed" if passed else f"Failed {name}")'
    message = f"an f-string {BUILT}write 'Failed {{name}}' and pass name=name"
    assert found(call) == [(1, 32, "POS001", message)]


@pytest.mark.parametrize(
    "call",
    [
        'status("Scored {model}", model=model)',
        'status("Scored " "{model}", model=model)',
        'status("Scored " + "{model}", model=model)',
        'status(f"Done")',
        'status(f"")',
        'status(f"Scored {{model}}", model=model)',
        "status(TEMPLATE)",
        "status(templates[0])",
        "status(TEMPLATE or OTHER)",
        "status(template_of(model))",
        "status(self.template())",
        "status(40)",
        "status(-1)",
        "status(3 * words)",
        "status()",
        "status(*parts)",
        'track(*parts, f"{name}")',
        "track(rows)",
        'track(f"{folder}/*.csv", "Reading")',
        'status("Scored", event=f"{name}")',
        'stage(f"{name}")',
    ],
)
def test_a_template_that_stays_the_same_is_not(call: str) -> None:
    assert found(call) == []


# --- POS002, POS003: the vocabulary ------------------------------------------


STAGES = ("evaluate", "promote")


@pytest.mark.parametrize(
    ("code", "line", "column", "message"),
    [
        (
            'status("Done", stage="promot")',
            1,
            22,
            "stage 'promot' is not allowed; write 'promote'",
        ),
        (
            'status("Done", stage="Promote")',
            1,
            22,
            "stage 'Promote' is not allowed; write 'promote'",
        ),
        (
            'with stage("qqq"):\n    pass',
            1,
            12,
            "stage 'qqq' is not allowed; use one of 'evaluate', 'promote'",
        ),
        (
            'async def f():\n    async with stage("qqq", model=1): ...',
            2,
            22,
            "stage 'qqq' is not allowed; use one of 'evaluate', 'promote'",
        ),
        (
            '@stage("promot")\ndef promote(): ...',
            1,
            8,
            "stage 'promot' is not allowed; write 'promote'",
        ),
        (
            'status("Done", stage="evaluate" if first else 3)',
            1,
            47,
            "stage 3 is not allowed; use one of 'evaluate', 'promote'",
        ),
    ],
)
def test_an_unknown_stage_is_found(code: str, line: int, column: int, message: str) -> None:
    assert found(code, stages=STAGES) == [(line, column, "POS002", message)]


@pytest.mark.parametrize(
    "call",
    [
        'status("Done", stage="promote")',
        'status("Done", stage=None)',
        'status("Done", stage="")',
        'status("Done", stage=name)',
        'status("Done", **{"stage": "qqq"})',
        'stage("evaluate")',
        "stage(name)",
        "stage(*names)",
        "stage()",
        'track(rows, "Reading", stage="qqq")',
    ],
)
def test_an_allowed_or_unknown_stage_name_is_not(call: str) -> None:
    assert found(call, stages=STAGES) == []


def test_without_a_list_of_stages_all_are_allowed() -> None:
    assert found('stage("qqq"); status("Done", stage="qqq")') == []


KNOWN = "use one of 'debug', 'info', 'warning', 'error', 'critical'"


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ('"warn"', "level 'warn' is not known; write 'warning'"),
        ('"ERROR"', "level 'ERROR' is not known; write 'error'"),
        ('"loud"', f"level 'loud' is not known; {KNOWN}"),
        ("40", f"level 40 is not known; {KNOWN}"),
        ("None", f"level None is not known; {KNOWN}"),
    ],
)
def test_an_unknown_level_is_found(level: str, message: str) -> None:
    assert found(f'status("Done", level={level})') == [(1, 22, "POS003", message)]


@pytest.mark.parametrize(
    "call",
    [
        'status("Done", level="critical")',
        'status("Done", level="error" if failed else "info")',
        'status("Done", level=level)',
        'status("Done", level=logging.INFO)',
        'track(rows, "Reading", level="loud")',
        'stage("evaluate", level="loud")',
    ],
)
def test_a_known_level_is_not(call: str) -> None:
    assert found(call) == []


def test_the_levels_can_be_others() -> None:
    call = 'status("a", level="loud"); status("b", level="info")'
    assert found(call, levels=("loud", "quiet")) == [
        (1, 46, "POS003", "level 'info' is not known; use one of 'loud', 'quiet'")
    ]


# --- POS004: length ----------------------------------------------------------


@pytest.mark.parametrize("call", ["status({})", "track(rows, {})"])
def test_a_long_template_is_found_from_one_character_too_many(call: str) -> None:
    assert codes(call.format(repr("x" * 160))) == []
    assert codes(call.format(repr("x" * 161))) == ["POS004"]


def test_a_long_template_is_told_both_lengths() -> None:
    assert found('status("ab" + "cd")', message_length=3) == [
        (
            1,
            8,
            "POS004",
            "the template has 4 characters, 3 are allowed; "
            "shorten it and pass the details as keyword attributes",
        )
    ]


# --- POS005: loops -----------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "line", "column"),
    [
        ('for row in rows:\n    status("Row")', 2, 5),
        ('for row in rows:\n    with lock:\n        status("Row")', 3, 9),
        ('for row in rows:\n    said = status("Row")', 2, 12),
        ('for row in rows:\n    log(status("Row"))', 2, 9),
        ('for row in rows:\n    if status("Row"): pass', 2, 8),
        ('for row in rows:\n    status("Row") or log(row)', 2, 5),
        ('for row in rows:\n    try:\n        status("Row")\n    finally: ...', 3, 9),
        ('for row in rows:\n    try: ...\n    finally:\n        status("Row")', 4, 9),
        ('for row in rows:\n    for cell in row: ...\n    else: status("Row")', 3, 11),
        ('for row in rows:\n    if row.is_last:\n        break\n    status("Row")', 4, 5),
        ('for row in rows:\n    if bad:\n        for c in row:\n            status("c")', 4, 13),
        ('for row in rows:\n    for cell in status("Row"): ...', 2, 17),
        ('for row in rows:\n    @log(status("Row"))\n    def f(): ...', 2, 10),
        ('for row in rows:\n    def f(said=status("Row")): ...', 2, 16),
        ('for row in rows:\n    f = lambda said=status("Row"): 1', 2, 21),
        ('for row in rows:\n    class C(status("Row")): ...', 2, 13),
        ('for row in rows:\n    match status("Row"):\n        case _: ...', 2, 11),
        ('async def f():\n    async for row in rows:\n        status("Row")', 3, 9),
        ('async def f():\n    for row in rows:\n        await row\n        status("R")', 4, 9),
        ('while rows:\n    status("Row")', 2, 5),
        ('while rows:\n    def f(): sleep(1)\n    status("Row")', 3, 5),
        ('while rows:\n    f = lambda: sleep(1)\n    status("Row")', 3, 5),
        ('[status("Row") for row in rows]', 1, 2),
        ('{status("Row") for row in rows}', 1, 2),
        ('{row: status("Row") for row in rows}', 1, 7),
        ('{status("Row"): row for row in rows}', 1, 2),
        ('list(status("Row") for row in rows)', 1, 6),
        ("[row for row in rows if status('Row')]", 1, 25),
        ("[cell for row in rows for cell in status('Row')]", 1, 35),
        ('for row in rows:\n    [cell for cell in status("Row")]', 2, 23),
        ('while True:\n    sleep(1)\n    for row in rows:\n        status("Row")', 4, 9),
    ],
)
def test_a_status_in_every_round_of_a_loop_is_found(code: str, line: int, column: int) -> None:
    assert found(code) == [(line, column, "POS005", LOOP)]


@pytest.mark.parametrize(
    "code",
    [
        'status("Row")',
        'for row in rows: ...\nstatus("Row")',
        'for row in rows: ...\nelse:\n    status("Row")',
        'while rows: ...\nelse:\n    status("Row")',
        'for row in status("Row"): ...',
        '[row for row in status("Row")]',
        'for row in rows:\n    if row.is_bad:\n        status("Row")',
        'for row in rows:\n    if row.is_good: ...\n    else:\n        status("Row")',
        'for row in rows:\n    if row.is_good:\n        continue\n    status("Row")',
        'for row in rows:\n    with row:\n        if row.ok: continue\n        status("Row")',
        'for row in rows:\n    status("Row") if row.is_bad else None',
        'for row in rows:\n    row.is_bad and status("Row")',
        'for row in rows:\n    try: ...\n    except ValueError:\n        status("Row")',
        'for row in rows:\n    match row:\n        case 1:\n            status("Row")',
        'for row in rows:\n    match row:\n        case 1 if status("Row"): ...',
        'for row in rows:\n    try: ...\n    except E: ...\n    else:\n        status("R"); break',
        'def f():\n    for row in rows:\n        status("Row")\n        return row',
        'for row in rows:\n    status("Row")\n    raise row',
        'for row in rows:\n    def f(): status("Row")',
        'for row in rows:\n    async def f(): status("Row")',
        'for row in rows:\n    f = lambda: status("Row")',
        'for row in rows:\n    class C:\n        status("Row")',
        '[status("Row") for row in rows if row.is_bad]',
        '[lambda: status("Row") for row in rows]',
        'while not done():\n    time.sleep(1)\n    status("Row")',
        'while not done():\n    status("Row")\n    sleep(1)',
        'while not sleep(1):\n    status("Row")',
        'while True:\n    with lock:\n        sleep(1)\n    status("Row")',
        'async def f():\n    while True:\n        status("Row")\n        await tick()',
        'async def f():\n    while True:\n        status("R")\n        async for _ in x: ...',
        'async def f():\n    while True:\n        status("R")\n        async with x: ...',
        'for job in jobs:\n    while job.runs():\n        sleep(1)\n        status("Row")',
        'for row in rows:\n    track(row, "Row")\n    stage("evaluate")',
    ],
)
def test_a_status_outside_or_under_a_condition_or_in_a_loop_that_waits_is_not(code: str) -> None:
    assert found(code) == []


# --- POS006: fields ----------------------------------------------------------


def unfilled(name: str) -> str:
    return f"stays as written; pass {name}=..., or double the braces if they are text"


UNNAMED = "has no name and stays as written; write '{name}' and pass name=..."
PRIVATE = "reads a private attribute and stays as written; pass that value under its own name"
NO_FIELDS = (
    "the template has braces but no named field, and stays as written; "
    "write '{field}', or double the braces"
)


@pytest.mark.parametrize(
    ("call", "column", "messages"),
    [
        ('status("Scored {model}")', 8, [f"field '{{model}}' {unfilled('model')}"]),
        ('status("Scored {model!r:>9}")', 8, [f"field '{{model!r:>9}}' {unfilled('model')}"]),
        ('status("{run.model} {run[0]}")', 8, [
            f"field '{{run.model}}' {unfilled('run')}",
            f"field '{{run[0]}}' {unfilled('run')}",
        ]),
        ('status("{a} {b} {a}", b=1)', 8, [f"field '{{a}}' {unfilled('a')}"]),
        ('status("{a:.{digits}f}", a=1)', 8, [f"field '{{digits}}' {unfilled('digits')}"]),
        ('status("{} of {n}", n=1)', 8, [f"field '{{}}' {UNNAMED}"]),
        ('status("{0} of {n}", n=1)', 8, [f"field '{{0}}' {UNNAMED}"]),
        ('status("{run._id}", run=run)', 8, [f"field '{{run._id}}' {PRIVATE}"]),
        ('status("{done} of {total}")', 8, [
            f"field '{{done}}' {unfilled('done')}",
            f"field '{{total}}' {unfilled('total')}",
        ]),
        ('status("At {stage}", stage="evaluate")', 8, [
            "field '{stage}' stays as written, for stage= is an option; "
            "pass the value under another name too"
        ]),
        ('track(rows, "{done}/{total} {rate} {remaining} {name}")', 13, [
            f"field '{{name}}' {unfilled('name')}"
        ]),
        ('status("Scored {}", 3)', 8, [NO_FIELDS]),
        ('status("Scored {model", model=1)', 8, [NO_FIELDS]),
        ('status("Scored {}", **values)', 8, [NO_FIELDS]),
    ],
)  # fmt: skip
def test_a_field_that_nothing_fills_is_found(call: str, column: int, messages: list[str]) -> None:
    assert found(call) == [(1, column, "POS006", message) for message in messages]


@pytest.mark.parametrize(
    "call",
    [
        'status("Scored {model}", model=1)',
        'status("Scored {run.model[0]!r:>{width}}", run=1, width=2)',
        'status("Scored {model}", **values)',
        'status("{{model}}")',
        'track(rows, "{done:.0f}/{total} at {rate} for {remaining} of {name}", name=1)',
        'track(rows, "{total}", total=3)',
        'track(rows, "{progress}", progress=3)',
        'status("{größe}", größe=3)',
    ],
)
def test_a_field_that_is_filled_or_may_be_is_not(call: str) -> None:
    assert found(call) == []


@pytest.mark.parametrize(
    "template",
    [
        "Done",
        "{a}",
        "{a} {c}",
        "{a} {}",
        "{a} {0}",
        "{c}",
        "{}",
        "{{a}}",
        "{{a}} {a}",
        "{a",
        "a}",
        "{a.real}",
        "{a._real}",
        "{c.real}",
        "{a:{b}}",
        "{a:{c}}",
        '{"a": 1}',
        '{"a": 1} {a}',
    ],
)
def test_fields_are_judged_as_they_are_filled(template: str) -> None:
    filled = templates.fill(template, {"a": 1, "b": 2})
    assert bool(codes(f"status({template!r}, a=1, b=2)")) is bool(filled.flags)


# --- POS007: what cannot be parsed -------------------------------------------


def not_parsed(reason: str, line: int = 1, column: int = 1) -> list[Finding]:
    message = f"the file {reason}; correct it, or leave it out of the paths"
    return [Finding("flow.py", line, column, "POS007", message)]


@pytest.mark.parametrize(
    ("source", "reason", "line", "column"),
    [
        ("x = 1\nx = = 1\n", "cannot be parsed: invalid syntax", 2, 5),
        (b"x = 1\r\nx = 1\r\nx = '\xff'\r\n", "cannot be parsed: it is not valid utf-8", 3, 1),
        (b"# coding: rot13\n", "cannot be parsed: 'rot13' is not a text encoding", 1, 1),
        (b"# coding: none\n", "cannot be parsed: unknown encoding: none", 1, 1),
    ],
)
def test_what_cannot_be_parsed_is_a_finding(
    source: str | bytes, reason: str, line: int, column: int
) -> None:
    [finding] = lint_source(source, "flow.py")
    # Some interpreters say more behind this.
    assert finding.message.startswith(f"the file {reason}")
    assert finding.message.endswith("; correct it, or leave it out of the paths")
    assert (finding.path, finding.line, finding.column) == ("flow.py", line, column)
    assert finding.code == "POS007"


@pytest.mark.parametrize("source", ["x = '\0'", "x = '\ud800'", OURS + "\0"])
def test_what_no_file_can_hold_is_a_finding(source: str) -> None:
    [finding] = lint_source(source, "flow.py")
    assert finding.code == "POS007"
    finding.message.encode()


def test_what_is_nested_too_deeply_is_a_finding() -> None:
    reason = "cannot be parsed: it is nested too deeply"
    source = OURS + "x = " + "+".join("1" * sys.getrecursionlimit())
    assert lint_source(source, "flow.py") == not_parsed(reason)


def test_a_warning_of_the_parser_stays_ours(recwarn: pytest.WarningsRecorder) -> None:
    assert found(r'x = "\d"; status("Done")') == []
    assert recwarn.list == []


# --- which names are ours ----------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "from prefect_otel_status import status as say\nsay('{x}')",
        "from prefect_otel_status import *\nstatus('{x}')",
        "from prefect_otel_status.messages import status\nstatus('{x}')",
        "from prefect_otel_status.messages import *\nstatus('{x}')",
        "from prefect_otel_status import messages\nmessages.status('{x}')",
        "from prefect_otel_status import tracking as t\nt.track(rows, '{x}')",
        "import prefect_otel_status\nprefect_otel_status.status('{x}')",
        "import prefect_otel_status as pos\npos.status('{x}')",
        "import prefect_otel_status as pos\npos.track(rows, '{x}')",
        "import prefect_otel_status.messages\nprefect_otel_status.messages.status('{x}')",
        "import prefect_otel_status.messages\nprefect_otel_status.status('{x}')",
        "import prefect_otel_status.messages as m\nm.status('{x}')",
        "def f():\n    from prefect_otel_status import status\n    status('{x}')",
        "def f():\n    status('{x}')\nfrom prefect_otel_status import status",
        "class C:\n    from prefect_otel_status import status\n    status('{x}')",
        f"{OURS}class C:\n    status = 1\n    def f(self): status('{{x}}')",
        f"{OURS}class C:\n    status = 1\n    class D: status('{{x}}')",
        "from prefect_otel_status import status\n[status for status in x]\nstatus('{x}')",
        "from prefect_otel_status import status\n(lambda status: 1)(status('{x}'))",
        "from prefect_otel_status import status\ndef f(x=status('{x}')): status = 1",
        "from prefect_otel_status import status\ndef f():\n    def status(): ...\nstatus('{x}')",
        "status = 1\ndef f():\n    from prefect_otel_status import status\n    status('{x}')",
        "from prefect_otel_status import status\ndef f():\n    global status\n    status('{x}')",
        "def f():\n    from prefect_otel_status import status\n    def g():\n"
        "        nonlocal status\n        del status\n        status('{x}')",
        "try:\n    from prefect_otel_status import status\nexcept ImportError:\n"
        "    def status(*a, **k): ...\nstatus('{x}')",
        "try:\n    from prefect_otel_status import status\nexcept (OSError, ModuleNotFoundError):\n"
        "    status = None\nstatus('{x}')",
    ],
)
def test_a_name_that_leads_to_us_is_ours(code: str) -> None:
    assert [finding.code for finding in lint_source(code, "flow.py")] == ["POS006"]


@pytest.mark.parametrize(
    "code",
    [
        "def status(text): ...\nstatus('{x}')",
        "from mine import status\nstatus('{x}')",
        "from mine import prefect_otel_status\nprefect_otel_status.status('{x}')",
        "from .prefect_otel_status import status\nstatus('{x}')",
        "from . import status\nstatus('{x}')",
        "from mine import *\nstatus('{x}')",
        "import prefect_otel_status_mine\nprefect_otel_status_mine.status('{x}')",
        "import mine as prefect_otel_status\nprefect_otel_status.status('{x}')",
        "import prefect_otel_status\nmine.status('{x}')\nf().status('{x}')",
        "import prefect_otel_status as pos\npos.other.status('{x}')",
        "from prefect_otel_status.tracking import *\nstatus('{x}')",
        "from prefect_otel_status import gate\ngate('{x}')",
        "def f():\n    from prefect_otel_status import status\nstatus('{x}')",
    ],
)
def test_a_name_that_leads_elsewhere_is_not(code: str) -> None:
    assert lint_source(f"{code}  # prefect_otel_status", "flow.py") == []


@pytest.mark.parametrize("source", ["", b"", "def status(text): ...\nstatus('{x}')"])
def test_code_that_never_names_us_is_clean(source: str | bytes) -> None:
    assert lint_source(source, "flow.py") == []


@pytest.mark.parametrize(
    "code",
    [
        "def status(): ...",
        "async def status(): ...",
        "class status: ...",
        "status = mine",
        "status: Mine",
        "status, other = mine",
        "(status := mine)",
        "[(status := x) for x in xs]",
        "for status in xs: ...",
        "with mine as status: ...",
        "import mine as status",
        "import status",
        "from mine import status",
        "del status",
        "try: ...\nexcept E as status: ...",
        "try: ...\nexcept mine.E as status: ...",
        "try: ...\nexcept:\n    status = mine",
        "match x:\n    case [*status]: ...",
        "match x:\n    case int() as status: ...",
        "match x:\n    case {1: 2, **status}: ...",
    ],
)
def test_a_name_that_is_bound_to_something_else_too_is_not(code: str) -> None:
    assert codes("status('{x}')") == ["POS006"]
    assert found(f"{code}\nstatus('{{x}}')") == []
    assert found(f"def f():\n{indent(code, '    ')}\n    status('{{x}}')") == []


@pytest.mark.parametrize(
    "code",
    [
        "def f(status): status('{x}')",
        "def f(status, /): status('{x}')",
        "def f(*, status): status('{x}')",
        "def f(*status): status('{x}')",
        "async def f(**status): status('{x}')",
        "lambda status: status('{x}')",
        "[status('{x}') for status in xs if status]",
        "{1: status('{x}') for _, status in xs if 1}",
        "[x for status in xs for x in status('{x}')]",
        "class C:\n    status = 1\n    status('{x}')",
    ],
)
def test_a_name_of_an_inner_scope_hides_ours(code: str) -> None:
    assert found(code) == []


# --- places and suppression --------------------------------------------------


def test_findings_are_in_the_order_of_the_text() -> None:
    source = """\
    status(
        "{x}" if ok else f"{y}",
        level="loud",
    ); status("Done", level="loud")
    """
    built = f"an f-string {BUILT}write '{{y}}' and pass y=y"
    level = f"level 'loud' is not known; {KNOWN}"
    assert found(source) == [
        (2, 5, "POS006", f"field '{{x}}' {unfilled('x')}"),
        (2, 22, "POS001", built),
        (3, 11, "POS003", level),
        (4, 25, "POS003", level),
    ]


def test_a_status_inside_a_status_is_looked_at_too() -> None:
    assert codes('status("Done", last=status("{x}"))') == ["POS006"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_columns_are_in_characters_and_lines_are_python_s(newline: str, as_bytes: bool) -> None:
    source = newline.join([OURS.strip(), "x = '\x0c\u2028'", 'é = "äöü"; status("{x}")'])
    findings = lint_source(source.encode() if as_bytes else source, Path("flow.py"))
    message = f"field '{{x}}' {unfilled('x')}"
    assert findings == [Finding("flow.py", 3, 19, "POS006", message)]


@pytest.mark.parametrize("codec", ["utf-8-sig", "latin-1"])
def test_the_encoding_is_the_one_that_the_file_declares(codec: str) -> None:
    source = f"# coding: {codec.removesuffix('-sig')}\n{OURS}x = 'é'; status('{{x}}')"
    [finding] = lint_source(source.encode(codec), "flow.py")
    assert (finding.line, finding.column, finding.code) == (3, 17, "POS006")


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("", ["POS003", "POS006"]),
        ("# noqa", []),
        ("#NOQA", []),
        ("# noqa  because we say so", []),
        ("# pragma: no cover # noqa", []),
        ("# noqa: POS003", ["POS006"]),
        ("# noqa:pos003", ["POS006"]),
        ("# noqa : POS003  (the level is ours)", ["POS006"]),
        ("# noqa: E501, POS003,POS006", []),
        ("# noqa: E501 POS006", ["POS003"]),
        ("# noqa: E501  # noqa: POS006", ["POS003"]),
        ("# noqa: E501", ["POS003", "POS006"]),
        ("# noqa: POS00", ["POS003", "POS006"]),
        ("# noqa: because we say so", ["POS003", "POS006"]),
        ("# noqatall", ["POS003", "POS006"]),
    ],
)
def test_noqa_suppresses_what_it_names(comment: str, left: list[str]) -> None:
    assert sorted(codes(f'status("{{x}}", level="loud")  {comment}')) == left


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ('status(  # noqa\n    "{x}")', ["POS006"]),
        ('status(\n    "{x}",  # noqa: POS006\n)', []),
        ('status("""\n{x}\n""")  # noqa: POS006', []),
        ('for x in y:\n    status(  # noqa: POS005\n        "Done"\n    )', []),
        ('for x in y:\n    status(\n        "Done"\n    )  # noqa: POS005', []),
        ('for x in y:\n    status(\n        "Done"  # noqa: POS005\n    )', ["POS005"]),
    ],
)
def test_noqa_belongs_on_the_first_or_last_line_of_what_is_found(
    source: str, left: list[str]
) -> None:
    assert codes(source) == left


# --- paths -------------------------------------------------------------------


BAD = OURS + "status('{x}')\n"


def bad(path: Path) -> Finding:
    return Finding(str(path), 2, 8, "POS006", f"field '{{x}}' {unfilled('x')}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which every file has a finding."""
    for name in (
        "b.py",
        "a/z.py",
        "a/deep/er.py",
        "a/text.txt",
        ".hidden/x.py",
        ".venv/x.py",
        "env/lib/x.py",
        "env/pyvenv.cfg",
        "node_modules/x.py",
        "__pycache__/x.py",
        "folder.py/x.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(BAD)
    return tmp_path


def test_folders_are_searched_in_order_without_what_others_wrote(project: Path) -> None:
    names = ["a/deep/er.py", "a/z.py", "b.py", "folder.py/x.py"]
    assert lint_paths([project]) == [bad(project / name) for name in names]


def test_what_is_named_is_checked_whatever_its_name_and_once(project: Path) -> None:
    paths = [project / "a/text.txt", project / ".hidden", str(project / "b.py"), project / "b.py"]
    names = ["a/text.txt", ".hidden/x.py", "b.py"]
    assert lint_paths(paths) == [bad(project / name) for name in names]


def test_a_link_that_leads_around_in_a_circle_is_not_followed(project: Path) -> None:
    (project / "a/around").symlink_to(project, target_is_directory=True)
    (project / "a/nowhere.py").symlink_to(project / "nothing.py")
    assert lint_paths([project / "a"]) == [
        bad(project / "a/deep/er.py"),
        bad(project / "a/z.py"),
    ]


def test_a_path_that_does_not_exist_is_named(project: Path) -> None:
    missing = project / "missing.py"
    with pytest.raises(FileNotFoundError) as caught:
        lint_paths([project, missing])
    assert str(caught.value) == f"There is no file or folder {str(missing)!r}."


def test_a_file_that_cannot_be_read_is_a_finding_beside_the_others(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = project / "a/deep/er.py"
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    # Root may read everything, so the refusal is played.
    monkeypatch.setattr(Path, "read_bytes", refuse)
    reason = "cannot be read: Permission denied"
    message = f"the file {reason}; correct it, or leave it out of the paths"
    assert lint_paths([project / "a"]) == [
        Finding(str(locked), 1, 1, "POS007", message),
        bad(project / "a/z.py"),
    ]


def test_the_rules_reach_every_file(project: Path) -> None:
    (project / "b.py").write_text(OURS + "status('abcd', stage='x', level='loud')\n")
    findings = lint_paths(
        [project / "b.py"], stages=["evaluate"], levels=["quiet"], message_length=3
    )
    assert [finding.code for finding in findings] == ["POS004", "POS002", "POS003"]


def test_nothing_is_run(tmp_path: Path) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(f"import os\n{OURS}os.mkdir({str(tmp_path / 'ran')!r})\n")
    assert lint_paths([flow]) == []
    assert os.listdir(tmp_path) == ["flow.py"]


# --- formats -----------------------------------------------------------------


FINDINGS = [
    Finding("flows/a.py", 3, 5, "POS001", "50% of 'x'\r\nand y"),
    Finding("flows/b,c:d%.py", 1, 1, "POS007", "the file, it: cannot"),
]


def test_text_is_a_line_for_each() -> None:
    assert as_text(FINDINGS[1:] * 2) == (
        "flows/b,c:d%.py:1:1: POS007 the file, it: cannot\n"
        "flows/b,c:d%.py:1:1: POS007 the file, it: cannot"
    )


def test_json_is_an_array_of_objects() -> None:
    assert json.loads(as_json(FINDINGS)) == [
        {
            "path": "flows/a.py",
            "line": 3,
            "column": 5,
            "code": "POS001",
            "message": "50% of 'x'\r\nand y",
        },
        {
            "path": "flows/b,c:d%.py",
            "line": 1,
            "column": 1,
            "code": "POS007",
            "message": "the file, it: cannot",
        },
    ]


def test_github_commands_are_escaped() -> None:
    assert as_github(FINDINGS) == (
        "::error file=flows/a.py,line=3,col=5,title=POS001::50%25 of 'x'%0D%0Aand y\n"
        "::error file=flows/b%2Cc%3Ad%25.py,line=1,col=1,title=POS007::the file, it: cannot"
    )


def test_nothing_found_is_nothing_said() -> None:
    assert (as_text([]), as_json([]), as_github([])) == ("", "[]", "")
