"""The names of deployments, for a shell that completes them: quick, and silent where it cannot."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from typing import Any

import httpx

SECONDS = 1.0
"""A person waits at the prompt."""

_MOST = 200


def complete(incomplete: str, *, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The deployments whose names begin with INCOMPLETE; none where they are not had in a second.

    Asks the server in PREFECT_API_URL, else a bridge at the usual address.
    Prefect's profiles are not read: importing Prefect takes too long.
    """
    try:
        names = _from_prefect(environ) if environ.get("PREFECT_API_URL") else _from_bridge(environ)
    except Exception:  # whatever it is, a prompt is no place to say it
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def _from_bridge(environ: Mapping[str, str]) -> list[str]:
    listen = environ.get("PREFECT_OTEL_STATUS_LISTEN", "127.0.0.1:9464")
    answer = httpx.get(f"http://{listen}/api/deployments", timeout=SECONDS)
    return [f"{row['flow']}/{row['deployment']}" for row in answer.json() if row["deployment"]]


def _from_prefect(environ: Mapping[str, str]) -> list[str]:
    ends = time.monotonic() + SECONDS
    url = environ["PREFECT_API_URL"].rstrip("/")
    with httpx.Client(headers=_headers(environ), timeout=SECONDS) as client:
        found = _ask(client, f"{url}/deployments/filter", {"limit": _MOST}, ends)
        ids = sorted({row["flow_id"] for row in found})
        query = {"flows": {"id": {"any_": ids}}, "limit": _MOST}
        flows = {row["id"]: row["name"] for row in _ask(client, f"{url}/flows/filter", query, ends)}
    return [f"{flows[row['flow_id']]}/{row['name']}" for row in found if row["flow_id"] in flows]


def _ask(client: httpx.Client, url: str, query: Any, ends: float) -> list[dict[str, Any]]:
    left = ends - time.monotonic()
    if left <= 0:
        return []
    answer = client.post(url, json=query, timeout=left)
    answer.raise_for_status()
    rows: list[dict[str, Any]] = answer.json()
    return rows


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    if auth := environ.get("PREFECT_API_AUTH_STRING"):
        return {"authorization": "Basic " + base64.b64encode(auth.encode()).decode()}
    key = environ.get("PREFECT_API_KEY")
    return {"authorization": f"Bearer {key}"} if key else {}
