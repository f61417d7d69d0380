"""The token that whoever asks the bridge must have, out of a file."""

from __future__ import annotations

import stat
from pathlib import Path

from prefect_otel_status.settings import ConfigurationError

LEAST = 16
"""Characters of a token: a shorter one can be guessed."""

_NAME = "PREFECT_OTEL_STATUS_WEB_TOKEN_FILE"


def read_token(path: Path | None) -> str | None:
    """The token in the file PATH; None without a file.

    Raises `ConfigurationError` for a file that cannot be read, that everybody
    can read, or in which there is no usable token. It never repeats the content.
    """
    if path is None:
        return None
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(f"The file in {_NAME} cannot be read: {reason}.") from None
    if mode & stat.S_IROTH:
        raise ConfigurationError(
            f"Everybody on this machine can read the file in {_NAME}: `chmod o-r` it (in "
            "Kubernetes, `defaultMode: 0440` of the secret's volume)."
        )
    if len(text) < LEAST or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(
            f"The file in {_NAME} holds no token: one line of at least {LEAST} printable "
            "characters, such as `openssl rand -hex 32` prints."
        )
    return text
