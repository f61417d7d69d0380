"""The bridge of the demo, as far as the demo asks it anything."""

from __future__ import annotations

import httpx


class Bridge:
    """A bridge that listens on PORT of this machine."""

    def __init__(self, port: int) -> None:
        self.listen = f"127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Whether it works: it has swept the server's history, and can commit and export."""
        try:
            answer = httpx.get(f"http://{self.listen}/readyz", timeout=2, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.is_success
