"""The token out of a file: what is refused, and that it is never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_otel_status.bridge.token import read_token
from prefect_otel_status.settings import ConfigurationError

TOKEN = "0123456789abcdef0123"


def file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_without_a_file_there_is_no_token() -> None:
    assert read_token(None) is None


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600])
def test_a_line_of_the_file_is_the_token(tmp_path: Path, mode: int) -> None:
    assert read_token(file(tmp_path, f"  {TOKEN}\n".encode(), mode)) == TOKEN


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"", 0o600, "holds no token: one line of at least 16"),
        (b"short", 0o600, "holds no token"),
        (TOKEN.encode() + b"\n" + TOKEN.encode(), 0o600, "holds no token"),
        (TOKEN.encode() + b" and more", 0o600, "holds no token"),
        ("pässwördpässwörd".encode(), 0o600, "holds no token"),
        (b"\xff" * 20, 0o600, "cannot be read: it is no text"),
        (TOKEN.encode(), 0o644, "Everybody on this machine can read the file"),
    ],
)
def test_what_is_no_secret_token_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_token(file(tmp_path, content, mode))
    assert TOKEN not in str(caught.value)
    assert "PREFECT_OTEL_STATUS_WEB_TOKEN_FILE" in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_token(tmp_path / "none")
