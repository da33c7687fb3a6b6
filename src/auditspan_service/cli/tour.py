"""`auditspan tour`: a demonstration with real requests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import click

from auditspan.cli.commands import (
    FOUND,
    Failure,
    json_option,
    print_object,
    stop_signal,
    wants_json,
)
from auditspan.trail.settings import environment
from auditspan_service.collector import (
    CollectorPaths,
    CollectorUnavailableError,
    build,
    find_binary,
)
from auditspan_service.config import load_settings
from auditspan_service.tour.proof import Proof, Trace, prove, run_story
from auditspan_service.tour.report import (
    as_dict,
    container_note,
    print_addresses,
    print_proof,
)
from auditspan_service.tour.routes import add_routes
from auditspan_service.tour.stage import Stage, own_stage, running_stage
from auditspan_service.tour.story import STORY

_MARK = ".auditspan-tour"
_TITLE_WIDTH = max(len(step.title) for step in STORY)
_RUNNING_URL = "http://127.0.0.1:8000"
"""The default address of `auditspan serve`, also inside its container."""

Say = Callable[[str], None]


@click.command()
@click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The directory of the tour; an earlier tour in it is removed.  [default: tour in the "
    "data directory]",
)
@click.option(
    "--url",
    help="The running service to tour, with the database and the collector's files of the "
    "settings.  [default: http://127.0.0.1:8000 with PostgreSQL, else a service is started]",
)
@click.option(
    "--key",
    help="An API key for the running service, with the scopes users:read, users:write and "
    "audit:write.  [default: temporary keys, revoked later]",
)
@click.option(
    "--files",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The directory of the collector's files of the running service.  "
    "[default: AUDITSPAN_COLLECTOR_FILES]",
)
@click.option(
    "--stay/--no-stay",
    default=lambda: sys.stdin.isatty() and sys.stdout.isatty(),
    help="Keep the service that was started running, to look at its pages, until Ctrl-C.  "
    "[default: --stay in a terminal]",
)
@json_option
def tour(
    *, data_dir: Path | None, url: str | None, key: str | None, files: Path | None, stay: bool
) -> None:
    """Demonstrate the trail with real requests.

    Makes requests, shows the row, span event and log record of each, and checks that they match.
    Uses a real service, SQLite, HTTP, and an OpenTelemetry collector, which is built once if it is
    not installed (two minutes). With PostgreSQL or --url, the requests go to the running service.

    Then it tampers with a copy of the database (on SQLite), which verification must find.

    Exits with 1 if anything does not match.
    """
    say: Say = _say_nothing if wants_json() else click.echo
    settings = load_settings(**({"collector_files": files} if files else {}))
    is_own = url is None and settings.is_embedded
    if is_own and (key or files):
        raise click.UsageError("--key and --files require a running service: give its --url, too.")
    if is_own:
        directory = data_dir or settings.data_dir / "tour"
        is_proven = _tour_own(directory, say, stay=stay and not wants_json())
    else:
        place = running_stage(settings, url=url or _RUNNING_URL, key=key, extend=add_routes)
        with place as stage:
            say(f"The service is {stage.url}{container_note()}.")
            proof = _run_and_prove(stage, say)
            is_proven = proof.ok
            if proof.joined and not wants_json():
                click.echo("\nSign in with a key that has the scope audit:read:\n")
                print_addresses(proof, stage)
    if not is_proven:
        raise SystemExit(FOUND)


def _tour_own(data_dir: Path, say: Say, *, stay: bool) -> bool:
    """Run the tour on a stack of its own; the last line reports a missing collector."""
    _make_room(data_dir)
    settings = load_settings(data_dir=data_dir, sink="otlp", record_access=True)
    binary, why_not = _collector()
    say(why_not or f"The collector is {binary}.")
    log = data_dir / "service.log"
    with own_stage(settings, binary=binary, log_file=log, extend=add_routes) as stage:
        proof = _run_and_prove(stage, say)
        if stay and proof.joined:
            _stay(proof, stage)
    if why_not:
        say(why_not)
    return proof.ok


def _stay(proof: Proof, stage: Stage) -> None:
    """Keep the service running, so that its pages can be looked at."""
    with stop_signal() as stopped:
        click.echo(f"\nThe service is still running{container_note()}. Sign in with this key:\n")
        click.echo(f"  {stage.key}\n")
        print_addresses(proof, stage)
        click.echo("\nPress Ctrl-C to stop.")
        stopped.wait()


def _run_and_prove(stage: Stage, say: Say) -> Proof:
    say(f"\n{'request':<{_TITLE_WIDTH}}  status  trace id")
    traces = run_story(stage, lambda trace: say(_step(trace)))
    proof = prove(stage, traces)
    if wants_json():
        print_object(as_dict(proof, stage))
    else:
        print_proof(proof, stage)
    return proof


def _make_room(directory: Path) -> None:
    """Remove an earlier tour, and refuse a directory with anything else in it."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / _MARK).exists():
            raise Failure(f"{directory} contains files that are not a tour: choose another --data.")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MARK).touch()


def _collector() -> tuple[Path | None, str | None]:
    """Return the collector, built if needed, or the reason why it is unavailable."""
    paths = CollectorPaths.from_environ(environment())
    try:
        return find_binary(paths) or build(paths, lambda text: click.echo(text, err=True)), None
    except CollectorUnavailableError as error:
        reason = str(error).partition("\n")[0]
        click.echo(str(error), err=True)
        return None, f"No collector is available, so auditspan wrote the files itself. ({reason})"


def _say_nothing(_text: str) -> None:
    """Print nothing: with `--json`, the output is one object."""


def _step(trace: Trace) -> str:
    return f"{trace.step.title:<{_TITLE_WIDTH}}  {trace.status:>6}  {trace.trace_id}"
