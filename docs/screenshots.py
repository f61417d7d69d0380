"""Photograph the status page, for people who have no bridge yet.

`python docs/screenshots.py` fills a bridge's store with invented runs, and with
one recorded from a real server whose process was killed, serves the pages, and
has Chromium photograph them into `docs/pictures/page-*.png`. Takes ten seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402
from playwright.async_api import Browser  # noqa: E402
from sqlalchemy import Connection  # noqa: E402

from prefect_otel_status import signals  # noqa: E402  (found by the line above)
from prefect_otel_status.bridge import recent  # noqa: E402
from prefect_otel_status.bridge.catalogue import Known  # noqa: E402
from prefect_otel_status.bridge.recent import EndedRun, Said  # noqa: E402
from prefect_otel_status.bridge.records import Observation, StatusFact  # noqa: E402
from tests.support.browser import a_page, chromium  # noqa: E402
from tests.support.site import SECOND, Shown, a_site  # noqa: E402

MINUTE = 60 * SECOND
RESULTS = {"s": "success", "f": "failure", "c": "cancellation", "k": "error"}
KILLED = "killed_served.ours"


@dataclass(frozen=True)
class Plan:
    """A deployment: how its runs ended, the oldest first, every how many minutes, how long."""

    flow: str
    deployment: str
    environment: str
    model: str
    version: str
    results: str
    every: int
    seconds: float
    said: tuple[tuple[str, str, str], ...]
    """Stage, level and words, in order, of its latest run."""
    error: tuple[str, str] = ("", "")
    gate: tuple[str, float, float] | None = None
    now: tuple[str, float, str] | None = None
    """Stage, progress and words of a run that goes on."""


CANARY = (
    ("evaluate", "info", "Scored bert-large on 12,000 rows: 93.4 %"),
    ("canary", "info", "Canary at 10 % of the traffic"),
    ("canary", "warning", "Latency of the canary is 1.8 times the old version's"),
    ("rollback", "error", "Rolled back to 2026.11.2: p95 latency 840 ms, allowed are 500 ms"),
)
PLANS = (
    Plan(
        *("deploy-model", "prod", "live", "bert-large", "2026.11.3"),
        *("ssssssfsssssssssssfssssssskfff"[-30:], 60, 340.0, CANARY),
        error=("CanaryTooSlow", "p95 latency 840 ms, allowed are 500 ms"),
        gate=("latency", 840.0, 500.0),
        now=("canary", 0.4, "Canary at 25 % of the traffic, 2026.11.4"),
    ),
    Plan(
        *("score-fraud", "prod", "live", "fraud-gbm", "41"),
        *("ssssssssssssssssssssssssssssss", 15, 48.0),
        (("score", "info", "Scored 48,210 transactions, 212 flagged"),),
        gate=("precision", 0.971, 0.95),
        now=("score", 0.72, "Scored 34,600 of 48,000 transactions"),
    ),
    Plan(
        *("train-ranker", "nightly", "live", "ranker", "v12"),
        *("ssssssssssfssssscsssssssss", 1440, 5400.0),
        (("train", "info", "Epoch 40 of 40: loss 0.182"), ("promote", "info", "Promoted v12")),
        error=("OutOfMemory", "CUDA out of memory while allocating 2.5 GB"),
        gate=("ndcg@10", 0.463, 0.45),
    ),
    Plan(
        *("evaluate-llm", "staging", "staging", "llama-70b-ft", "7"),
        *("sssfssffsssfffssssssfsssssss", 180, 900.0),
        (("judge", "warning", "3 of 400 answers could not be judged, they are left out"),),
        error=("RateLimited", "429 from the judge's endpoint after 6 tries"),
        gate=("faithfulness", 0.912, 0.9),
    ),
    Plan(
        *("embed-catalogue", "hourly", "live", "e5-base", "3"),
        *("ssssssssssssssssssssssssssssss", 60, 190.0),
        (("embed", "info", "Embedded 3,118 new products"),),
    ),
    Plan(
        *("refresh-features", "prod", "live", "", ""),
        *("sssssssssssssssssssssssssssssk", 30, 75.0),
        (("load", "info", "Loaded 2.1 million rows from the warehouse"),),
        error=("Crashed", "Process exited with status code: -9."),
    ),
    Plan(
        *("shadow-traffic", "staging", "staging", "bert-large", "2026.11.4"),
        *("ssssssss", 240, 610.0),
        (("compare", "info", "Shadow agrees with production in 99.2 % of 50,000 requests"),),
        gate=("agreement", 0.992, 0.99),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Photograph all views; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    option = parser.add_argument
    option("--to", type=Path, default=ROOT / "docs" / "pictures", help="the folder for the PNGs")
    asyncio.run(_photograph_all(parser.parse_args(arguments).to))
    return 0


async def _photograph_all(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as store:
        async with a_site(Path(store), histories=[KILLED]) as shown, chromium() as browser:
            await _fill(shown)
            for name, address, context in await _views(shown):
                await _photograph(browser, shown.url + address, folder / f"{name}.png", context)


async def _views(shown: Shown) -> list[tuple[str, str, dict[str, Any]]]:
    """Name and address of each picture, and how the browser is to be."""
    killed = next(card for card in await shown.cards() if card.flow == "killed-served")
    deployment = "/deployments?flow=deploy-model&deployment=prod"
    wide = {"viewport": {"width": 1280, "height": 640}}
    return [
        ("page-overview", "/", wide),
        ("page-overview-dark", "/", {**wide, "color_scheme": "dark"}),
        ("page-deployment", deployment, {"viewport": {"width": 1280, "height": 860}}),
        (
            "page-run",
            f"/runs/{killed.bars[-1].run_id}",
            {"viewport": {"width": 1280, "height": 830}},
        ),
        ("page-phone", "/", {"viewport": {"width": 360, "height": 740}}),
    ]


async def _photograph(
    browser: Browser, address: str, picture: Path, context: dict[str, Any]
) -> None:
    fixed = {"timezone_id": "Europe/Berlin", "locale": "en-GB", **context}
    async with a_page(browser, **fixed) as page:
        await page.goto(address)
        await page.wait_for_selector(".live.on")
        await page.screenshot(path=picture, full_page="overview" in picture.name)
    print(f"{picture}: {picture.stat().st_size // 1000} kB")


# --- what is shown ---------------------------------------------------------------------
async def _fill(shown: Shown) -> None:
    for number, plan in enumerate(PLANS):
        runs = list(_runs(plan, number, shown.clock()))
        known = _known(plan, runs[-1])

        def write(
            connection: Connection, runs: list[EndedRun] = runs, known: Known = known
        ) -> None:
            recent.keep(connection, runs)
            shown.core.catalogue.write(connection, [known])

        await shown.core.store.run(write)
        shown.core.catalogue.adopt([known])
        shown.due[known.key] = runs[-1].ended + plan.every * MINUTE
        if plan.now:
            await _goes_on(shown, plan, number)


def _runs(plan: Plan, number: int, now: int) -> Iterator[EndedRun]:
    chance = random.Random(plan.flow)
    for i, letter in enumerate(plan.results):
        is_last = i == len(plan.results) - 1
        failed = letter in "fk"
        seconds = (
            plan.seconds * chance.uniform(0.75, 1.2) * (chance.uniform(0.3, 0.9) if failed else 1)
        )
        ended = now - (len(plan.results) - 1 - i) * plan.every * MINUTE - (3 + number) * MINUTE
        started = ended - int(seconds * SECOND)
        yield EndedRun(
            id=str(UUID(int=(number << 64) + i + 1, version=4)),
            name=chance.choice(ADJECTIVES) + "-" + chance.choice(ANIMALS),
            flow=plan.flow,
            deployment=plan.deployment,
            environment=plan.environment,
            model=plan.model,
            version=plan.version if i > len(plan.results) - 6 else _earlier(plan.version),
            started=started,
            ended=ended,
            result=RESULTS[letter],
            error_type=("Crashed" if letter == "k" else plan.error[0]) if failed else "",
            error=(KILLED_WORDS if letter == "k" else plan.error[1]) if failed else "",
            said=tuple(_said(plan, started, ended)) if is_last or i > len(plan.results) - 4 else (),
        )


def _earlier(version: str) -> str:
    head, _, tail = version.rpartition(".")
    digits = "".join(filter(str.isdigit, tail))
    if not digits:
        return version
    return f"{head}{'.' if head else ''}{tail.replace(digits, str(int(digits) - 1))}"


def _said(plan: Plan, started: int, ended: int) -> Iterator[Said]:
    step = (ended - started) // (len(plan.said) + 1)
    for i, (stage, level, words) in enumerate(plan.said, 1):
        yield Said(started + i * step, words, level, stage)
    if plan.gate:
        name, score, threshold = plan.gate
        passed = score >= threshold if threshold <= 1 else score <= threshold
        words = f"Gate {name} {'passed' if passed else 'failed'}: {score:g} against {threshold:g}"
        decision = "pass" if passed else "fail"
        level = "info" if passed else "error"
        yield Said(ended - SECOND, words, level, "", name, decision, score, threshold)


def _known(plan: Plan, last: EndedRun) -> Known:
    said = max((said for said in last.said if not said.gate), key=lambda said: said.at)
    return Known(
        plan.flow,
        plan.deployment,
        environment=plan.environment,
        model=plan.model,
        version=plan.version,
        last_success=last.ended - (0 if last.result == "success" else 4 * plan.every * MINUTE),
        last_seen=last.ended,
        last_result=last.result,
        last_run_id=last.id,
        last_ended=last.ended,
        said_at=said.at,
        stage=said.stage,
        level=said.level,
        message=said.message,
    )


async def _goes_on(shown: Shown, plan: Plan, number: int) -> None:
    """A run of PLAN that is not over, and has said something."""
    assert plan.now is not None
    stage, progress, words = plan.now
    run_id = str(UUID(int=(number << 64) + 999, version=4))
    bound = {signals.MODEL_NAME.name: plan.model, signals.MODEL_VERSION.name: plan.version}
    first = StatusFact(shown.clock() - 95 * SECOND, "Loaded", "Loaded 12,000 rows", stage="load")
    second = StatusFact(shown.clock() - 9 * SECOND, words, words, stage=stage, progress=progress)
    for fact in (first, second):
        said = msgspec.structs.replace(fact, bound=bound)
        observed = Observation(run_id, run_id, said, plan.flow, plan.deployment, "calm-heron")
        await shown.take([observed])


KILLED_WORDS = "Process exited with status code: -9. Process exited due to a SIGKILL signal."
ADJECTIVES = ("brave", "calm", "eager", "fancy", "green", "quick", "quiet", "shiny", "wise")
ANIMALS = ("badger", "crane", "gecko", "heron", "lynx", "otter", "owl", "raven", "seal", "tapir")

if __name__ == "__main__":
    sys.exit(main())
