"""How findings are printed: for people and editors, for programs, for GitHub."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from prefect_otel_status.lint.finding import Finding


def as_text(findings: Iterable[Finding]) -> str:
    """FINDINGS as lines `path:line:column: code message`, which editors can follow."""
    return "\n".join(f"{f.path}:{f.line}:{f.column}: {f.code} {f.message}" for f in findings)


def as_json(findings: Iterable[Finding]) -> str:
    """FINDINGS as a JSON array of objects with the names of `Finding`'s fields."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def as_github(findings: Iterable[Finding]) -> str:
    """FINDINGS as GitHub's workflow commands, which annotate the lines of a pull request."""
    return "\n".join(map(_github_command, findings))


def _github_command(finding: Finding) -> str:
    place = f"file={_github_property(finding.path)},line={finding.line},col={finding.column}"
    return f"::error {place},title={finding.code}::{_github_data(finding.message)}"


def _github_data(text: str) -> str:
    # The percent sign first, or it would escape the escapes.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _github_property(text: str) -> str:
    return _github_data(text).replace(":", "%3A").replace(",", "%2C")
