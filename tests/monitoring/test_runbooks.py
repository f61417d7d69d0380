"""The runbooks: one for each alert, whole, with queries and commands that work as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from prefect_otel_status.monitoring.links import Links
from prefect_otel_status.monitoring.rules import files
from tests.monitoring.rules.names import unknown_in
from tests.support.alertmanager import alertmanager
from tests.support.processes import program
from tests.support.server import wait_for

PAGES = sorted((Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md"))
SECTIONS = ["What it means", "How to confirm", "What to do", "How to silence"]
RULES = [
    rule
    for text in files(Links()).values()
    for group in yaml.safe_load(text)["groups"]
    for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
SEVERITIES = {rule["alert"]: rule["labels"]["severity"] for rule in RULES if "alert" in rule}
ALWAYS_FIRES = "Watchdog"
NOBODY = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"

of_each = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def _fenced(page: Path, language: str) -> list[str]:
    """The blocks of PAGE in LANGUAGE, also those within a list."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def _commands(page: Path, program_name: str) -> list[str]:
    """The commands of PAGE that run PROGRAM_NAME, without the prompt."""
    text = "".join(_fenced(page, "console")).replace("\\\n", " ")
    return re.findall(rf"^ *\$ ({program_name} .*)$", text, re.MULTILINE)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert [page.stem for page in PAGES] == sorted(SEVERITIES)


@of_each
def test_a_runbook_has_what_a_person_who_was_woken_needs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n\nSeverity: ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


@of_each
def test_it_says_how_urgent_it_is(page: Path) -> None:
    line = page.read_text(encoding="utf-8").splitlines()[2]
    assert SEVERITIES[page.stem] in line


@of_each
def test_it_has_a_query_and_each_names_only_what_exists(page: Path) -> None:
    queries = _fenced(page, "promql")
    assert queries
    assert [unknown_in(query, records=RECORDED) for query in queries] == [[] for _ in queries]


def test_its_command_silences_the_alert(tmp_path: Path) -> None:
    pages = [page for page in PAGES if page.stem != ALWAYS_FIRES]
    with alertmanager(tmp_path, NOBODY) as address:
        wait_for(lambda: _is_ready(address), what="Alertmanager")
        for page in pages:
            (command,) = (one for one in _commands(page, "amtool") if "silence add" in one)
            _run(command, address)
        silences = httpx.get(f"http://{address}/api/v2/silences").json()
    silenced = [matcher["value"] for s in silences for matcher in s["matchers"]
                if matcher["name"] == "alertname"]  # fmt: skip
    assert sorted(silenced) == [page.stem for page in pages]


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", timeout=2).is_success
    except httpx.TransportError:
        return False


def _run(command: str, address: str) -> None:
    name, *arguments = shlex.split(command.replace("127.0.0.1:9093", address))
    done = subprocess.run(
        [program(name), *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, command + done.stderr
