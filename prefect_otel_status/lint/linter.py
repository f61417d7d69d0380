"""`lint_paths` and `lint_source`: from files or a text to findings."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from prefect_otel_status.lint.calls import calls_in
from prefect_otel_status.lint.checks import problems
from prefect_otel_status.lint.files import files_of
from prefect_otel_status.lint.finding import Finding, Problem
from prefect_otel_status.lint.functions import PACKAGE
from prefect_otel_status.lint.parsing import PARSE_ERRORS, decode, not_parsed, parse
from prefect_otel_status.lint.rules import Rules
from prefect_otel_status.lint.suppression import is_suppressed
from prefect_otel_status.model import LEVELS


def lint_paths(
    paths: Iterable[str | os.PathLike[str]],
    *,
    stages: Collection[str] = (),
    levels: Collection[str] = LEVELS,
    message_length: int = 160,
) -> list[Finding]:
    """Check the files in PATHS, and every `*.py` in those that are folders; each file once.

    Hidden folders, virtual environments, `node_modules` and `__pycache__`
    inside a folder are left out. STAGES are those that are allowed; none allows
    all. A file that cannot be read or parsed is a finding.

    Raises `FileNotFoundError` that names a path which does not exist, and
    `OSError` for a folder that cannot be listed; nothing was checked then.
    """
    rules = Rules(tuple(stages), tuple(levels), message_length)
    files = dict.fromkeys(file for path in paths for file in files_of(Path(path)))
    return [finding for file in files for finding in _lint_file(file, rules)]


def lint_source(
    source: str | bytes,
    path: str | os.PathLike[str],
    *,
    stages: Collection[str] = (),
    levels: Collection[str] = LEVELS,
    message_length: int = 160,
) -> list[Finding]:
    """Check SOURCE, a module's text or bytes; its findings in the order of the text.

    PATH is only what the findings are reported under. What cannot be parsed is
    a finding.
    """
    return _lint(source, os.fspath(path), Rules(tuple(stages), tuple(levels), message_length))


def _lint_file(file: Path, rules: Rules) -> list[Finding]:
    try:
        source = file.read_bytes()
    except OSError as error:
        return [not_parsed(str(file), error)]
    return _lint(source, str(file), rules)


def _lint(source: str | bytes, path: str, rules: Rules) -> list[Finding]:
    try:
        text = decode(source)
        found = _problems_in(text, path, rules)
    except PARSE_ERRORS as error:
        return [not_parsed(path, error)]
    lines = text.split("\n")
    findings = [each.found(path, lines) for each in found if not is_suppressed(each, lines)]
    return sorted(findings, key=lambda finding: (finding.line, finding.column, finding.code))


def _problems_in(text: str, path: str, rules: Rules) -> list[Problem]:
    tree = parse(text, path)
    if PACKAGE not in text:
        return []
    return [problem for call in calls_in(tree) for problem in problems(call, rules)]
