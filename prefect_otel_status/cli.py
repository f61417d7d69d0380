"""The command `prefect-otel-status`: check code, find a run's trace, look at local telemetry.

What a command needs is imported inside it, so that help and `trace-id` do not
wait for the settings. A user's mistake is one sentence on stderr and exit code
2; findings are exit code 1.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.text import Text

from prefect_otel_status import __version__

if TYPE_CHECKING:
    from prefect_otel_status.bridge.outbox import SetAside
    from prefect_otel_status.lint import Finding
    from prefect_otel_status.settings import Settings

T = TypeVar("T")

NAME = "prefect-otel-status"
FOUND = 1
MISTAKE = 2
UNREACHABLE = 3

app = typer.Typer(
    name=NAME,
    no_args_is_help=True,
    # The values in a traceback of Typer's could be secrets.
    pretty_exceptions_enable=False,
)


class Format(str, Enum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def main() -> None:
    """Run the command line. What the encoding of the output cannot say is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name=NAME)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """OpenTelemetry status messages for Prefect.

    \b
    Examples:
      prefect-otel-status lint flows/
      prefect-otel-status trace-id 3f0e0b5e-8a52-4c0f-9f0c-1b7f0a1d2c3e
      prefect-otel-status ls
      prefect-otel-status tail
      prefect-otel-status trace --last
      prefect-otel-status doctor
      prefect-otel-status show
      prefect-otel-status bridge
    """


@app.command()
def lint(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files, and folders with all below them.")
    ],
    *,
    style: Annotated[
        Format,
        typer.Option("--format", help="`github` makes annotations of a pull request."),
    ] = Format.TEXT,
    stages: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="The allowed stages, instead of those in PREFECT_OTEL_STATUS_STAGES.",
        ),
    ] = None,
) -> None:
    """Check code that says statuses, without running it.

    Exits with 1 if something was found and with 2 if a path does not exist.
    `# noqa: POS001` on a line suppresses that finding on it.

    \b
    Examples:
      prefect-otel-status lint flows/
      prefect-otel-status lint deploy.py --stages evaluate,promote
      prefect-otel-status lint . --format github
    """
    findings = _lint(paths, _settings() if stages is None else _settings(stages=stages))
    _print_findings(findings, style)
    if findings:
        raise typer.Exit(FOUND)


class LogFormat(str, Enum):
    """How the bridge logs."""

    TEXT = "text"
    JSON = "json"


@app.command()
def render(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.")] = Path(
        "dashboards"
    ),
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; name what differs or is generated no more."),
    ] = False,
    grafana: Annotated[str, typer.Option(metavar="URL", help="Where Grafana is.")] = "",
    prefect: Annotated[str, typer.Option(metavar="URL", help="Where Prefect's UI is.")] = "",
    jaeger: Annotated[str, typer.Option(metavar="URL", help="Where Jaeger is.")] = "",
    bridge: Annotated[str, typer.Option(metavar="URL", help="Where the bridge is.")] = "",
    runbooks: Annotated[
        str, typer.Option(metavar="URL", help="What an alert's name is put behind.")
    ] = "",
    objective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FLOW/DEPLOYMENT=RATIO",
            help="The share of runs that should succeed, else 0.95. Can be repeated.",
        ),
    ] = None,
) -> None:
    """Write dashboards, alert rules and the configuration of the stack.

    Links lead to this machine unless told otherwise. Exits with 1 where --check
    finds a difference.

    \b
    Examples:
      prefect-otel-status render --out dashboards
      prefect-otel-status render --out dashboards --check
      prefect-otel-status render --out mine --grafana https://grafana.example
      prefect-otel-status render --out mine --objective deploy-model/prod=0.99
    """
    from prefect_otel_status.monitoring import command
    from prefect_otel_status.monitoring.links import Links

    given = {"grafana": grafana, "prefect": prefect, "jaeger": jaeger, "bridge": bridge}
    given |= {"runbooks": runbooks}
    links = Links(**{name: url.rstrip("/") for name, url in given.items() if url})
    try:
        objectives = dict(map(_objective, objective or ()))
        code = command.render(out, check=check, links=links, objectives=objectives)
    except (ValueError, OSError, command.CannotRender) as error:
        _fail(str(error))
    raise typer.Exit(code)


def _objective(text: str) -> tuple[str, float]:
    name, _, ratio = text.rpartition("=")
    try:
        return name, float(ratio)
    except ValueError:
        raise ValueError(
            f"--objective {text}: write FLOW/DEPLOYMENT=RATIO, such as deploy-model/prod=0.99."
        ) from None


@app.command()
def bridge(
    *,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|URL",
            help="A path for SQLite, or postgresql+asyncpg://user@host/name. "
            "By default a file in the user's state folder.",
        ),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="By default 127.0.0.1:9464.")
    ] = None,
    backfill: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How far back the first start reads: 90m, 24h, 7d."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Read, draw and deliver everything once, then exit.")
    ] = False,
    log_format: Annotated[LogFormat, typer.Option(help="How to log.")] = LogFormat.TEXT,
    allow_public: Annotated[
        bool, typer.Option("--allow-public", help="Allow an address that others can reach.")
    ] = False,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="List what the OTLP receiver refused, and exit.")
    ] = False,
    release: Annotated[
        bool, typer.Option("--release", help="With --set-aside: put it back, to be tried again.")
    ] = False,
) -> None:
    """Turn the history of a Prefect server into traces and metrics, for every run.

    The server is the one of Prefect's own settings (PREFECT_API_URL or the
    profile); traces go where OTEL_EXPORTER_OTLP_ENDPOINT says, else into a local
    folder. Exits with 0 when it was told to stop or, with --once, when all is
    delivered; with 1 if something still waits, with 3 if the server cannot be
    read.

    \b
    Examples:
      prefect-otel-status bridge
      prefect-otel-status bridge --once --backfill 7d
      prefect-otel-status bridge --store postgresql+asyncpg://bridge@db/bridge
      prefect-otel-status bridge --set-aside
    """
    from prefect_otel_status.bridge import command
    from prefect_otel_status.bridge.collection import keep_what_is_loaded
    from prefect_otel_status.settings import ConfigurationError

    if release and not set_aside:
        _fail("--release goes with --set-aside.")
    given = {"store": store, "listen": listen, "backfill": backfill}
    options = {name: value for name, value in given.items() if value is not None}
    settings = _settings(**options, **({"allow_public": True} if allow_public else {}))
    command.log_to_stderr(as_json=log_format is LogFormat.JSON)
    keep_what_is_loaded()
    work = command.run_once if once else command.run_forever
    try:
        if set_aside:
            found = asyncio.run(command.set_aside(settings, release=release))
            _print_set_aside(found, release=release)
            return
        code = asyncio.run(work(settings))
    except ConfigurationError as error:
        _fail(str(error))
    raise typer.Exit(code)


@app.command("trace-id")
def trace_id(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="The outermost flow run, as Prefect shows it.")
    ],
) -> None:
    """Print the trace id of a flow run, of which its tasks and subflows are part.

    \b
    Example:
      prefect-otel-status trace-id 3f0e0b5e-8a52-4c0f-9f0c-1b7f0a1d2c3e
    """
    from prefect_otel_status.ids import hex_trace_id, trace_id_of

    typer.echo(hex_trace_id(trace_id_of(_run_id(run_id))))


class Level(str, Enum):
    """The levels of a status, the least first."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class FailOn(str, Enum):
    """What makes `ls` fail; `unhealthy` is failing or late."""

    UNHEALTHY = "unhealthy"
    FAILING = "failing"
    LATE = "late"
    UNKNOWN = "unknown"


class TraceFormat(str, Enum):
    """How a trace is printed."""

    TREE = "tree"
    JSON = "json"
    OTLP = "otlp"
    HTML = "html"


@app.command()
def trace(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="The id or the name of a run, or how either begins; with --last a deployment.",
            show_default=False,
        ),
    ] = None,
    *,
    last: Annotated[
        bool,
        typer.Option("--last", help="The latest run: of all, or of RUN as a deployment or a flow."),
    ] = False,
    style: Annotated[
        TraceFormat, typer.Option("--format", help="`otlp` is what Jaeger's UI loads.")
    ] = TraceFormat.TREE,
    open_page: Annotated[
        bool, typer.Option("--open", help="Show it in the browser, as the format html has it.")
    ] = False,
) -> None:
    """Show what a run did and said, out of Prefect's history: no bridge and no Jaeger are needed.

    The server is the one of Prefect's own settings (PREFECT_API_URL or the
    profile). Exits with 2 where there is no such run, or more than one, and
    with 3 if the server cannot be read.

    \b
    Examples:
      prefect-otel-status trace --last
      prefect-otel-status trace --last deploy-model/prod
      prefect-otel-status trace wise-owl
      prefect-otel-status trace 3f0e0b5e --format json
      prefect-otel-status trace wise-owl --open
    """
    from prefect_otel_status.terminal import trace as command

    if not last and run is None:
        _fail("Say which run: its id, its name, or --last.")
    settings = _settings()
    found = _asked(command.read_trace(settings, run, last=last))
    if not open_page:
        command.write(found, command.TraceFormat(style.value), Console())
    elif (page := command.open_page(found, settings)) is not None:
        typer.echo(f"No browser was found; the page is {page}.", err=True)
    if not found.is_whole:
        typer.echo("There is more of this run than is shown: it has too many subflows.", err=True)


def _deployments(incomplete: str) -> list[str]:
    """The deployments whose names begin so, for the shell."""
    from prefect_otel_status.terminal.completion import complete

    return complete(incomplete)


@app.command()
def tail(
    *,
    deployment: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Of this one only: FLOW/DEPLOYMENT, or the name of a deployment or a flow.",
            autocompletion=_deployments,
        ),
    ] = "",
    level: Annotated[
        Level, typer.Option(help="From this level on; tasks' usual states are `debug`.")
    ] = Level.INFO,
    since: Annotated[
        str, typer.Option(metavar="DURATION", help="Begin in the past: 90s, 10m, 2h.")
    ] = "0s",
    as_json: Annotated[bool, typer.Option("--json", help="An object a line.")] = False,
) -> None:
    """Print statuses and changes of state as they come, of every run of the server.

    Goes on through a restart of the server, and then prints what it missed.
    Ctrl-C ends it, with exit code 0. Exits with 2 where there is no such
    deployment, and with 3 if the server cannot be read at the start.

    \b
    Examples:
      prefect-otel-status tail
      prefect-otel-status tail --deployment deploy-model/prod --level warning
      prefect-otel-status tail --since 10m --json
    """
    from prefect_otel_status.bridge.command import log_to_stderr
    from prefect_otel_status.settings import seconds_of
    from prefect_otel_status.terminal import tail as command

    settings = _settings()
    log_to_stderr(as_json=False)
    console = Console()
    choice = command.Choice(deployment, level.value)

    def put(line: command.Line) -> None:
        if as_json:
            console.file.write(command.as_json(line) + "\n")
        else:
            console.print(command.as_text(line), soft_wrap=True)
        console.file.flush()

    try:
        _asked(command.follow(settings, choice, put, since=seconds_of(since)))
    except ValueError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit from None
    except BrokenPipeError:
        _let_go_of_stdout()


@app.command("ls")
def list_deployments(
    *,
    flow: Annotated[str, typer.Option(metavar="NAME", help="Of this flow only.")] = "",
    environment: Annotated[
        str, typer.Option(metavar="NAME", help="In this environment only; a bridge knows it.")
    ] = "",
    bridge: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Ask this bridge. By default one on this machine if it answers, else Prefect.",
        ),
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds.")] = False,
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option(help="Exit with 1 if a deployment is so. Can be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The rows of /api/deployments.")] = False,
) -> None:
    """List the deployments and how they are, the worst first.

    \b
    Examples:
      prefect-otel-status ls
      prefect-otel-status ls --watch
      prefect-otel-status ls --flow deploy-model --fail-on unhealthy
      prefect-otel-status ls --json
    """
    from prefect_otel_status.terminal import listing as command

    settings = _settings()
    wanted = command.Wanted(flow, environment)

    def read() -> command.Listing:
        return _asked(command.listing(settings, bridge=bridge, wanted=wanted))

    found = read()
    if as_json:
        typer.echo(json.dumps([dict(row) for row in found.rows], ensure_ascii=False, indent=2))
    elif watch:
        _watch(lambda: command.table_of(read(), now=time.time_ns()))
    else:
        # In a pipe a row is a line, however wide.
        console = Console() if sys.stdout.isatty() else Console(width=1000)
        console.print(command.table_of(found, now=time.time_ns()))
    if command.unhealthy(found, [kind.value for kind in fail_on or ()]):
        raise typer.Exit(FOUND)


def _watch(table: Callable[[], Any]) -> None:
    """Draw TABLE again and again until Ctrl-C."""
    from rich.live import Live

    try:
        with Live(table(), auto_refresh=False, screen=sys.stdout.isatty()) as live:
            while True:
                time.sleep(2)
                live.update(table(), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _let_go_of_stdout() -> None:
    """End quietly: who read the output has gone, and Python would complain at its own end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def doctor(
    *,
    bridge: Annotated[
        str, typer.Option(metavar="URL", help="The bridge; by default where the settings say.")
    ] = "",
    prometheus: Annotated[str, typer.Option(metavar="URL", help="Where Prometheus is.")] = "",
    alertmanager: Annotated[str, typer.Option(metavar="URL", help="Where Alertmanager is.")] = "",
    grafana: Annotated[str, typer.Option(metavar="URL", help="Where Grafana is.")] = "",
    jaeger: Annotated[str, typer.Option(metavar="URL", help="Where Jaeger's pages are.")] = "",
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="What each check has.")
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="All checks as one JSON array.")] = False,
) -> None:
    """Check that telemetry works, from the settings to what each backend got.

    Sends a span and an event that are marked as synthetic, and looks for them;
    they count in nothing. Exits with 1 if a check failed; warnings do not count.

    \b
    Examples:
      prefect-otel-status doctor
      prefect-otel-status doctor --prometheus http://localhost:9090 --jaeger http://localhost:16686
      prefect-otel-status doctor --json
    """
    from prefect_otel_status.terminal.doctor import command
    from prefect_otel_status.terminal.doctor.backends import Addresses
    from prefect_otel_status.terminal.doctor.check import FAILED, Result

    settings, console, found = _settings(), Console(), list[Result]()
    try:
        addresses = Addresses(bridge, prometheus, alertmanager, grafana, jaeger)
    except ValueError as error:
        _fail(str(error))
    # What breaks is in the findings; the log of the parts would say it again.
    logging.getLogger("prefect_otel_status").setLevel(logging.CRITICAL + 1)

    async def examine() -> None:
        async for result in command.examine(settings, addresses, timeout=timeout):
            found.append(result)
            if not as_json:
                console.print(command.as_text(result), soft_wrap=True)

    _asked(examine())
    if as_json:
        typer.echo(command.as_json(found))
    if any(result.outcome == FAILED for result in found):
        raise typer.Exit(FOUND)


@app.command()
def show(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="By default the one in PREFECT_OTEL_STATUS_FOLDER.", show_default=False
        ),
    ] = None,
) -> None:
    """Show the traces and counters that flows wrote while no OTLP endpoint was set.

    \b
    Examples:
      prefect-otel-status show
      prefect-otel-status show telemetry/
    """
    from prefect_otel_status import trees

    found = _telemetry(_settings().folder if folder is None else folder)
    try:
        trees.show(found, Console())
    except PermissionError as error:
        _fail(_sentence(error))


def _fail(sentence: str, *, code: int = MISTAKE) -> NoReturn:
    """Say what the user should do otherwise, and exit."""
    Console(stderr=True).print(Text(sentence, "red"), soft_wrap=True)
    raise typer.Exit(code)


def _asked(question: Coroutine[Any, Any, T]) -> T:
    """What Prefect's server answers to QUESTION; its failure is a sentence."""
    from prefect_otel_status.bridge.connection import (
        RequestRefused,
        ServerUnavailable,
        Unauthorized,
    )
    from prefect_otel_status.settings import ConfigurationError
    from prefect_otel_status.terminal.find import NotFound

    try:
        return asyncio.run(question)
    except (ConfigurationError, NotFound) as error:
        _fail(str(error))
    except (ServerUnavailable, Unauthorized, RequestRefused) as error:
        _fail(str(error), code=UNREACHABLE)


def _sentence(error: OSError) -> str:
    return f"{error.filename} cannot be read: {error.strerror}." if error.strerror else str(error)


def _settings(**options: Any) -> Settings:
    from prefect_otel_status.settings import ConfigurationError, load

    try:
        return load(**options)
    except ConfigurationError as error:
        _fail(str(error))


def _lint(paths: list[Path], settings: Settings) -> list[Finding]:
    from prefect_otel_status.lint import lint_paths

    try:
        return lint_paths(
            paths,
            stages=settings.stages,
            levels=settings.levels,
            message_length=settings.message_length,
        )
    except OSError as error:
        _fail(_sentence(error))


def _print_findings(findings: list[Finding], style: Format) -> None:
    from prefect_otel_status.lint import as_github, as_json, as_text

    if style is Format.JSON:
        typer.echo(as_json(findings))
    elif findings and style is Format.GITHUB:
        typer.echo(as_github(findings))
    elif findings:
        text = Text(as_text(findings))
        text.highlight_regex(r"(?m)(?<=: )POS\d{3}\b", "bold red")
        Console().print(text, soft_wrap=True)


def _print_set_aside(items: list[SetAside], *, release: bool) -> None:
    from prefect_otel_status.bridge.times import iso

    for item in items:
        typer.echo(f"{item.id}\t{iso(item.created)}\t{item.signal}\t{item.name}\t{item.reason}")
    kept = f"{len(items)} set aside" if items else "Nothing is set aside"
    typer.echo(f"{kept}{', now put back' if release and items else ''}.", err=True)


def _run_id(text: str) -> str:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        _fail(f"{text!r} is not a run id; copy the UUID that Prefect shows for the flow run.")


def _telemetry(folder: Path) -> Path:
    for path in (folder, folder / "traces.jsonl"):
        if not path.exists():
            _fail(f"There is no {path}; name a folder into which flows wrote their telemetry.")
    return folder
