"""Values that break careless code, each with a name for the test's report."""

from __future__ import annotations

from typing import Any


class RaisingText:
    """Raises when it is asked for its text, in whatever way."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __format__(self, spec: str) -> str:
        raise RuntimeError("no format")


class RaisingAttributes:
    """Raises something else than `AttributeError` for an attribute that it does not have."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __str__(self) -> str:
        return "raising attributes"


class Endless(list[int]):
    """A list that cannot be gone through."""

    def __iter__(self) -> Any:
        raise RuntimeError("no items")


def cyclic() -> dict[str, Any]:
    """A dictionary that holds itself."""
    found: dict[str, Any] = {}
    found["self"] = found
    return found


TEN_MEGABYTES = "x" * 10_000_000

VALUES: dict[str, Any] = {
    "lone surrogate": "\ud800",
    "nul": "a\x00b",
    "newline": "a\nb\r\nc",
    "ansi escape": "\x1b[31mred\x1b[0m",
    "forged metric": '"} 1\nfake 1',
    "ten megabytes": TEN_MEGABYTES,
    "empty": "",
    "none": None,
    "bytes": b"\xff\x00\xfe",
    "raising text": RaisingText(),
    "raising attributes": RaisingAttributes(),
    "endless list": Endless(),
    "cyclic": cyclic(),
    "nan": float("nan"),
    "infinity": float("-inf"),
    "too large": 2**70,
    "too large in a list": [1, 2**70],
    "mixed list": [1, "a", None, 2.5],
    "nested list": [["a"], {"b": 1}],
    "unbalanced braces": "{a {b} }",
    "secret": "password=hunter22",
}

SECRETS: dict[str, str] = {
    "private_key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n"
    "-----END RSA PRIVATE KEY-----",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "aws_key": "AKIAIOSFODNN7EXAMPLE",
    "google_key": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "github_token": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "slack_token": "xoxb-123456789012-abcdefABCDEF",
    "prefect_key": "pnu_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "api_key": "sk-proj-abcdEFGH1234567890ijkl",
    "authorization": "Authorization: dGhpc2lzYXNlY3JldA==",
    "bearer": "Bearer dGhpc2lzYXNlY3JldA==",
    "url_credentials": "postgresql://admin:hunter22@db.example.com:5432/app",
    "password": "password=hunter22",
}
"""One secret of each kind. What must not survive of it is in `SECRET_PARTS`."""

SECRET_PARTS: dict[str, str] = {
    **SECRETS,
    "private_key": "MIIEpAIBAAKCAQEA7",
    "authorization": "dGhpc2lzYXNlY3JldA",
    "bearer": "dGhpc2lzYXNlY3JldA",
    "url_credentials": "hunter22",
    "password": "hunter22",
}
