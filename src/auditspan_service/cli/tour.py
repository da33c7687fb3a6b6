"""`auditspan tour`: a demonstration with real requests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from auditspan.cli.commands import FOUND, Failure, json_option, print_object, print_rows
from auditspan.settings import environment
from auditspan_service.collector import (
    CollectorPaths,
    CollectorUnavailableError,
    build,
    find_binary,
)
from auditspan_service.config import load_settings
from auditspan_service.tour.proof import Proof, Trace, add_failing_route, prove, tell
from auditspan_service.tour.stage import Stage, own_stage, running_stage

_MARK = ".auditspan-tour"
_TITLE_WIDTH = 27
_RUNNING_URL = "http://127.0.0.1:8000"
"""The default address of `auditspan serve`, also inside its container."""

_CONTAINER_MARKS = (
    Path("/.dockerenv"),
    Path("/run/.containerenv"),
    Path("/run/secrets/kubernetes.io"),
)
"""Files that Docker, Podman and Kubernetes put into a container."""

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
    "--key", help="An API key for the running service.  [default: a temporary key, revoked later]"
)
@click.option(
    "--files",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The directory of the collector's files of the running service.  "
    "[default: AUDITSPAN_COLLECTOR_FILES]",
)
@json_option
def tour(
    *, data_dir: Path | None, url: str | None, key: str | None, files: Path | None, as_json: bool
) -> None:
    """Demonstrate the trail with real requests.

    Makes requests, shows the row, span event and log record of each, and checks that they match.
    Uses a real service, SQLite, HTTP, and an OpenTelemetry collector, which is built once if it is
    not installed (two minutes). With PostgreSQL or --url, the requests go to the running service.

    Exits with 1 if anything does not match.
    """
    say: Say = _say_nothing if as_json else click.echo
    settings = load_settings(**({"collector_files": files} if files else {}))
    is_own = url is None and settings.is_embedded
    if is_own and (key or files):
        raise click.UsageError("--key and --files require a running service: give its --url, too.")
    if is_own:
        is_proven = _tour_own(data_dir or settings.data_dir / "tour", say, as_json=as_json)
    else:
        place = running_stage(settings, url=url or _RUNNING_URL, key=key, extend=add_failing_route)
        with place as stage:
            say(f"The service is {stage.url}{_seen_from()}.")
            is_proven = _tell_and_prove(stage, say, as_json=as_json)
    if not is_proven:
        raise SystemExit(FOUND)


def _tour_own(data_dir: Path, say: Say, *, as_json: bool) -> bool:
    """Run the tour on a stack of its own; the last line reports a missing collector."""
    _make_room(data_dir)
    settings = load_settings(data_dir=data_dir, sink="otlp")
    binary, why_not = _collector()
    say(why_not or f"The collector is {binary}.")
    log = data_dir / "service.log"
    with own_stage(settings, binary=binary, log_file=log, extend=add_failing_route) as stage:
        is_proven = _tell_and_prove(stage, say, as_json=as_json)
    if why_not:
        say(why_not)
    return is_proven


def _tell_and_prove(stage: Stage, say: Say, *, as_json: bool) -> bool:
    say(f"\n{'request':<{_TITLE_WIDTH}}  status  trace id")
    told = tell(stage, lambda trace: say(_step(trace)))
    proof = prove(stage, told)
    if as_json:
        print_object(_as_dict(proof, stage))
    else:
        _print_proof(proof, stage)
    return proof.ok


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


def _print_proof(proof: Proof, stage: Stage) -> None:
    click.echo(
        "\nRecords of each request in the database, on its span, and in the collector's file:\n"
    )
    print_rows([_row(trace) for trace in proof.traces], as_json=False)
    rows, events, records = proof.counts
    click.echo(
        f"\n{rows} audit rows = {events} span events = {records} log records, "
        "joined on trace id, bodies equal byte for byte"
        if proof.joined
        else f"\nMISMATCH: {rows} audit rows, {events} span events, {records} log records"
    )
    verified, reconciled = proof.verified, proof.reconciled
    click.echo(
        f"seal {'verified' if verified.ok else 'BROKEN'}: {verified.tree_size} leaves, "
        f"root {verified.root[:16]}…"
    )
    click.echo(
        f"delivery {'reconciled' if reconciled.ok else 'INCOMPLETE'}: {reconciled.found} of "
        f"{reconciled.rows} rows are in the files, {len(reconciled.unknown)} unknown"
    )
    _print_where_next(proof, stage)


def _row(trace: Trace) -> dict[str, str]:
    action = trace.step.actions[0] if trace.step.actions else "nothing"
    return {
        "request": trace.step.title,
        "status": str(trace.status),
        "expected": action,
        "audit_row": str(len(trace.rows)),
        "span_event": str(len(trace.span_events)),
        "log_record": str(len(trace.log_records)),
        "": "ok" if trace.ok else "WRONG",
    }


def _print_where_next(proof: Proof, stage: Stage) -> None:
    files = _relative(stage.settings.collector_files)
    click.echo(f"\nWhere to look next{_seen_from()}:")
    click.echo(f"  {files / 'audit' / 'audit.jsonl'}       the audit records, as delivered")
    click.echo(f"  {files / 'telemetry' / 'traces.jsonl'}  the spans with their events")
    command = "auditspan"
    if stage.is_own:
        program = _relative(Path(sys.executable).with_name("auditspan"))
        command = f"{program} --data {_relative(stage.settings.data_dir)}"
    click.echo(f"  {command} trace {proof.traces[1].trace_id}")
    click.echo(f"  {command} history user {proof.user_id}")
    click.echo(f"  {command} events")
    click.echo(f"  {command} verify")
    if _in_container():
        click.echo("Run them like the tour, such as with `docker compose exec service auditspan`.")


def _in_container() -> bool:
    return any(mark.exists() for mark in _CONTAINER_MARKS)


def _seen_from() -> str:
    """Return a note for addresses and paths that are valid only inside this container."""
    return " (inside this container)" if _in_container() else ""


def _relative(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _as_dict(proof: Proof, stage: Stage) -> dict[str, Any]:
    rows, events, records = proof.counts
    return {
        "ok": proof.ok,
        "collector": {"version": stage.collector} if stage.collector else None,
        "steps": [trace.to_dict() for trace in proof.traces],
        "rows": rows,
        "span_events": events,
        "log_records": records,
        "verify": proof.verified.to_dict(),
        "reconcile": proof.reconciled.to_dict(),
    }
