"""The command `prefect-otel-status`: check code, find a run's trace, look at local telemetry.

What a command needs is imported inside it, so that help and `trace-id` do not
wait for the settings. A user's mistake is one sentence on stderr and exit code
2; findings are exit code 1.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Coroutine
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
    add_completion=False,
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
      prefect-otel-status trace --last
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
