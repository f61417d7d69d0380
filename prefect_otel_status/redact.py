"""Take secrets out of text before it reaches a disk, a wire or a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

REPLACEMENT = "[redacted]"


class Pattern(NamedTuple):
    """A kind of secret: the quick hint that it may be there, and how to find it."""

    kind: str
    expression: re.Pattern[str]
    replacement: str


def _pattern(kind: str, expression: str, replacement: str = REPLACEMENT) -> Pattern:
    return Pattern(kind, re.compile(expression), replacement)


_NAMED = (  # names whose value is a secret: the name ends with the word that says so
    r"(?:[a-z0-9_.-]{0,40}?(?:passw(?:or)?d|passwd|pwd|secret|token|api[_-]?key"
    r"|access[_-]?key|private[_-]?key|secret[_-]?key|credentials?))"
)

PATTERNS = (
    _pattern(
        "private_key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\S]*?-----END [A-Z0-9 ]{0,40}-----|[\s\S]*)",
    ),
    _pattern("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"),
    _pattern("aws_key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    _pattern("google_key", r"\bAIza[0-9A-Za-z_-]{35}"),
    _pattern("github_token", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    _pattern("slack_token", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    _pattern("prefect_key", r"\bpn[ub]_[A-Za-z0-9]{20,}"),
    _pattern(
        "api_key",
        # Made-up names such as `sk-learn-extensions` have no digits and capitals.
        r"\b(?:sk|rk|pk)[-_](?=[A-Za-z0-9_-]*\d)(?=[A-Za-z0-9_-]*[A-Z0-9]{2})[A-Za-z0-9_-]{16,}"
        r"|\bsk-(?:proj|ant|live|test)-[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{20,}",
    ),
    _pattern(
        "authorization",
        r"(?i)(\bauthorization[\"'\\]{0,3}\s{0,4}[:=]\s{0,4}[\"'\\]{0,3}(?:[a-z]{1,20}\s+)?)"
        r"(?!\[redacted)[A-Za-z0-9._~+/=-]{6,}",
        rf"\1{REPLACEMENT}",
    ),
    _pattern(
        "bearer",
        r"(?i)\b(bearer|basic)\s+(?=[A-Za-z0-9._~+/-]*[0-9A-Z=._+/-])(?-i:(?![a-z]+\b))"
        r"[A-Za-z0-9._~+/=-]{8,}",
        rf"\1 {REPLACEMENT}",
    ),
    _pattern(
        "url_credentials",
        r"(?i)(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@:]{0,256}:[^\s/]{1,512}@",
        rf"\1{REPLACEMENT}@",
    ),
    _pattern(
        "password",
        rf"(?i)(\b{_NAMED}[\"'\\]{{0,3}}\s{{0,4}}(?:=>|=|:)\s{{0,4}})"
        r"(?:\\\"[^\"]{1,1024}\\\"|\"[^\"]{1,1024}\"|'[^']{1,1024}'"
        r"|(?!\[redacted)[^\s,;&\"'}\]\\]{3,})",
        rf"\1{REPLACEMENT}",
    ),
)

# One cheap look decides for nearly every text that there is nothing to do.
_HINT = re.compile(
    r"(?i)-----BEGIN|eyJ|AKIA|ASIA|AIza|gh[pousr]_|github_pat_|xox[abprs]-|pn[ub]_|[srp]k[-_]|hf_"
    r"|bearer|basic\s|://|passw|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization"
)

SECRET_NAME = re.compile(
    r"(?i)(?:^|[_.-])(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credentials?|authorization)$"
)
"""Attributes with such a name never show their value."""


class Redactor:
    """Takes secrets out of text with the built-in patterns and the user's own.

    `on_secret` is called with the kind of each secret found. Text without a
    hint of a secret costs one scan.
    """

    def __init__(
        self, *, extra: tuple[str, ...] = (), on_secret: Callable[[str], None] | None = None
    ) -> None:
        self._extra = tuple(_pattern("custom", expression) for expression in extra)
        self._on_secret = on_secret or (lambda kind: None)

    def __call__(self, text: str) -> str:
        """TEXT without its secrets."""
        patterns = (PATTERNS if _HINT.search(text) else ()) + self._extra
        for pattern in patterns:
            text = self._apply(pattern, text)
        return text

    def is_secret_name(self, name: str) -> bool:
        """Whether an attribute NAME says that its value is a secret."""
        return SECRET_NAME.search(name) is not None

    def named(self, name: str, text: str) -> str:
        """TEXT, the value of the attribute NAME, without its secrets."""
        if self.is_secret_name(name):
            self._on_secret("named")
            return REPLACEMENT
        return self(text)

    def _apply(self, pattern: Pattern, text: str) -> str:
        text, count = pattern.expression.subn(pattern.replacement, text)
        for _ in range(count):
            self._on_secret(pattern.kind)
        return text
