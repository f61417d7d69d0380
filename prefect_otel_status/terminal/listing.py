"""What the command `ls` does: the deployments and how they are, from a bridge or from Prefect."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from rich.table import Table
from rich.text import Text

from prefect_otel_status.bridge.cards import Active, card_of, row_of
from prefect_otel_status.bridge.catalogue import Key, Known, after_status
from prefect_otel_status.bridge.project import environment_of
from prefect_otel_status.bridge.recent import KEPT, EndedRun
from prefect_otel_status.bridge.records import RunRow, Seen, StatusFact
from prefect_otel_status.bridge.schedules import next_due
from prefect_otel_status.bridge.serving import parse_listen
from prefect_otel_status.bridge.times import nanoseconds
from prefect_otel_status.bridge.wire import FlowRun
from prefect_otel_status.bridge.words import error_type_of
from prefect_otel_status.model import result_of
from prefect_otel_status.settings import ConfigurationError, Settings
from prefect_otel_status.signals import PREFECT_EVENT
from prefect_otel_status.terminal.prefect import Prefect, prefect
from prefect_otel_status.web.moments import ago, ahead
from prefect_otel_status.web.overview import HEALTHS

RUNS = 1_000
"""Ended runs that are looked at where there is no bridge: five requests at most."""

STATUSES = 200
"""Events with statuses that are looked at: four requests at most."""

Row = Mapping[str, Any]
"""A deployment, as `/api/deployments` has it."""

_COLOURS = {"failing": "red", "late": "yellow", "healthy": "green", "unknown": "dim"}
_TIMEOUT = 5.0


@dataclass(frozen=True)
class Listing:
    """The deployments, and where that is from."""

    rows: list[Row]
    source: str


@dataclass(frozen=True)
class Wanted:
    """Which deployments are shown; empty is all."""

    flow: str = ""
    environment: str = ""

    def takes(self, row: Row) -> bool:
        """Whether ROW is among them."""
        return (not self.flow or row["flow"] == self.flow) and (
            not self.environment or row["environment"] == self.environment
        )


async def listing(settings: Settings, *, bridge: str = "", wanted: Wanted | None = None) -> Listing:
    """The deployments that are WANTED, the worst first.

    From the bridge at the address BRIDGE, else from one that listens where the
    settings say, else from Prefect itself. Raises `ConfigurationError` where
    BRIDGE does not answer, and as `Connection` does.
    """
    found = await _from_bridge(bridge, settings) if bridge else await _if_there(settings)
    found = found or await _from_prefect(settings)
    wanted = wanted or Wanted()
    rows = [row for row in found.rows if wanted.takes(row)]
    return Listing(sorted(rows, key=_order), found.source)


def _order(row: Row) -> tuple[int, str, str]:
    health = row["health"]
    place = HEALTHS.index(health) if health in HEALTHS else len(HEALTHS)
    return place, row["flow"], row["deployment"] or ""


# --- from a bridge -------------------------------------------------------------
async def _if_there(settings: Settings) -> Listing | None:
    """From a bridge on this machine, if one answers at once."""
    try:
        listen = parse_listen(settings.listen, allow_public=True)
        return await _from_bridge(listen.url, settings, timeout=1.0)
    except ConfigurationError:
        return None


async def _from_bridge(url: str, settings: Settings, *, timeout: float = _TIMEOUT) -> Listing:
    from prefect_otel_status.bridge.token import read_token

    url = url.rstrip("/")
    token = read_token(settings.web_token_file)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with httpx.AsyncClient(timeout=timeout, headers=headers) as client:
            answer = await client.get(f"{url}/api/deployments")
        rows = msgspec.json.decode(answer.content, type=list[dict[str, Any]])
        answer.raise_for_status()
        shown = [row for row in rows if {"flow", "deployment", "why"} <= row.keys()]
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"There is no bridge at {_shown(url)}: {type(error).__name__}. "
            "Leave --bridge out to read Prefect itself."
        ) from None
    return Listing([*shown], f"the bridge at {_shown(url)}")


def _shown(url: str) -> str:
    """URL without what may be a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


# --- from Prefect --------------------------------------------------------------
async def _from_prefect(settings: Settings, *, clock: Callable[[], int] = time.time_ns) -> Listing:
    async with prefect(settings, clock=clock) as history:
        rows = await prefect_rows(history, now=clock())
        return Listing([*rows], f"Prefect at {history.connection.server.origin}")


async def prefect_rows(history: Prefect, *, now: int) -> list[Row]:
    """The deployments as Prefect knows them at NOW.

    That is a request for each 200 deployments, two for what goes on, at most
    five for what ended, at most four for statuses, and one for each 200 names
    of flows, however many runs there are. Of a deployment whose last run is
    older than the last 1,000 runs of all, the result is unknown.
    """
    deployments = await history.api.deployments()
    history.describer.learn(deployments)
    flows = await history.api.flow_names({d.flow_id for d in deployments if d.flow_id})
    keys = {d.id: (flows.get(d.flow_id or "", ""), d.name) for d in deployments}
    due = {keys[d.id]: at for d in deployments if (at := next_due(d, now=now))}
    ended, active = await _ended(history), await _active(history, now)
    known = {key: Known(*key) for key in (*keys.values(), *ended, *active)}
    for key, status in await _said(history):
        if key in known:
            environment = environment_of(status.bound, known[key].environment)
            row = RunRow("", flow_name=key[0], deployment_name=key[1], environment=environment)
            known[key] = after_status(known[key], row, status)
    return [
        row_of(card_of(one, active.get(key, []), ended.get(key, []), due.get(key, 0)), one)
        for key in sorted(known)
        for one in [_with_last(known[key], ended.get(key, []))]
    ]


def _with_last(known: Known, ended: Sequence[EndedRun]) -> Known:
    if not ended:
        return known
    environment = next((run.environment for run in ended if run.environment), "")
    success = next((run.ended for run in ended if run.result == "success"), 0)
    return msgspec.structs.replace(
        known,
        environment=known.environment or environment,
        last_result=ended[0].result,
        last_run_id=ended[0].id,
        last_ended=ended[0].ended,
        last_success=success,
    )


async def _ended(history: Prefect) -> dict[Key, list[EndedRun]]:
    """The runs that ended last, by deployment, the latest first."""
    found: dict[Key, list[EndedRun]] = defaultdict(list)
    runs = await history.api.last_ended_runs(RUNS)
    known = await _described(history, runs)
    for run in runs:
        seen = known[run.id]
        key = (seen.flow_name, seen.deployment_name)
        state = history.parser.state(run.state) if run.state else None
        if state is not None and len(found[key]) < KEPT:
            result = result_of(state.type, state.name) or ""
            found[key].append(
                EndedRun(
                    id=run.id,
                    environment=environment_of(seen.bound, ""),
                    name=seen.name,
                    flow=key[0],
                    deployment=key[1],
                    started=seen.started,
                    ended=seen.ended or state.at,
                    result=result,
                    state=state.name,
                    error_type=error_type_of(state),
                )
            )
    return found


async def _described(history: Prefect, runs: Sequence[FlowRun]) -> dict[str, Seen]:
    """The names of RUNS. Where they hang in a tree is of no interest here, and dear."""
    alone = [msgspec.structs.replace(run, parent_task_run_id=None) for run in runs]
    return await history.describer.describe(alone)


async def _active(history: Prefect, now: int) -> dict[Key, list[Active]]:
    runs = await history.api.active_runs(now_ns=now)
    seen = await _described(history, runs)
    found: dict[Key, list[Active]] = defaultdict(list)
    for run in runs:
        one = seen[run.id]
        state = history.clean.line(run.state_name)
        began = nanoseconds(run.start_time)
        found[one.flow_name, one.deployment_name].append(
            Active(run.id, "", state, "", None, began, 0)
        )
    return found


async def _said(history: Prefect) -> list[tuple[Key, StatusFact]]:
    """The latest statuses, with the deployments that said them."""
    found: list[tuple[Key, StatusFact]] = []
    read = 0
    async for events, _ in history.api.events(since_ns=0, prefixes=[PREFECT_EVENT]):
        for observation in (o for event in events for o in history.parser.event(event)):
            if isinstance(observation.what, StatusFact):
                key = (observation.flow_name, observation.deployment_name)
                found.append((key, observation.what))
        read += len(events)
        if read >= STATUSES:
            break
    return found


# --- for the eye ----------------------------------------------------------------
def table_of(found: Listing, *, now: int) -> Table:
    """FOUND as a table. NOW is in nanoseconds."""
    table = Table(box=None, pad_edge=False, caption=Text(f"From {found.source}.", "dim"))
    table.caption_justify = "left"
    for name in ("DEPLOYMENT", "HEALTH", "LAST STATUS", "LAST RUN", "ACTIVE", "SUCCESS", "NEXT"):
        table.add_column(name, overflow="fold", header_style="dim")
    for row in found.rows:
        table.add_row(*_cells(row, now))
    return table


def _cells(row: Row, now: int) -> list[Text]:
    name = f"{row['flow']}/{row['deployment']}" if row["deployment"] else str(row["flow"])
    rate = row.get("success_rate")
    return [
        Text(name, "bold"),
        Text.assemble(
            (str(row["health"]), _COLOURS.get(row["health"], "")), (f"  {row['why']}", "dim")
        ),
        _told(row["last_status"], row["last_status_at"], now),
        _told(row["last_result"], row["last_ended_at"], now),
        Text(str(row["active_runs"] or "–")),
        Text("–" if rate is None else f"{100 * rate:.0f} %"),
        Text(ahead(nanoseconds(row.get("next_run_at")), now=now) or "–"),
    ]


def _told(words: str | None, at: str | None, now: int) -> Text:
    if not words:
        return Text("–", "dim")
    return Text.assemble(str(words), (f"  {ago(nanoseconds(at), now=now)}", "dim"))


def unhealthy(found: Listing, kinds: Sequence[str]) -> bool:
    """Whether a deployment of FOUND is of one of KINDS; `unhealthy` is failing or late."""
    wanted = {"failing", "late"} if "unhealthy" in kinds else set(kinds)
    return any(row["health"] in wanted for row in found.rows)
