"""`auditspan tour`: the story on the screen."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from auditspan_service.cli.console import FOUND, Failure, json_option, print_object, print_rows
from auditspan_service.collector import (
    CollectorPaths,
    CollectorUnavailableError,
    build,
    find_binary,
)
from auditspan_service.config import environment, load_settings
from auditspan_service.stack import Stack
from auditspan_service.tour import Proof, Trace, add_failing_route, prove, tell

_MARK = ".auditspan-tour"
_TITLE_WIDTH = 27


@click.command()
@click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".auditspan", "tour"),
    show_default=True,
    help="Where everything is put; an earlier tour there is removed.",
)
@json_option
def tour(*, data_dir: Path, as_json: bool) -> None:
    """Watch single changes become row, span event and log record, and see it proven.

    Everything is real: the service, SQLite, HTTP, and the OpenTelemetry collector, which is built
    once where there is none (two minutes). Exit code 1 when anything does not match.
    """
    _make_room(data_dir)
    settings = load_settings(data_dir=data_dir, sink="otlp")
    binary, why_not = _collector()
    if not as_json:
        _say_which(binary, why_not)
    with (
        (data_dir / "service.log").open("a", encoding="utf-8") as log,
        Stack.start(settings, binary=binary, log_stream=log, extend=add_failing_route) as stack,
    ):
        told = tell(stack, lambda trace: None if as_json else _say_step(trace))
        proof = prove(stack, told)
        if as_json:
            print_object(_as_dict(proof, stack))
        else:
            _print_proof(proof, stack)
    if why_not and not as_json:
        click.echo(why_not)
    if not proof.ok:
        raise SystemExit(FOUND)


def _make_room(directory: Path) -> None:
    """Remove an earlier tour, and nothing else that a person may have put there."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / _MARK).exists():
            raise Failure(f"{directory} holds something else than a tour: choose another --data.")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MARK).touch()


def _collector() -> tuple[Path | None, str | None]:
    """The collector, built where there is none; or why there is none."""
    paths = CollectorPaths.from_environ(environment())
    try:
        return find_binary(paths) or build(paths, lambda text: click.echo(text, err=True)), None
    except CollectorUnavailableError as error:
        reason = str(error).partition("\n")[0]
        click.echo(str(error), err=True)
        return None, f"No collector could be had, so auditspan wrote the files itself. ({reason})"


def _say_which(binary: Path | None, why_not: str | None) -> None:
    click.echo(why_not or f"The collector is {binary}.")
    click.echo()
    click.echo(f"{'request':<{_TITLE_WIDTH}}  status  trace id")


def _say_step(trace: Trace) -> None:
    click.echo(f"{trace.step.title:<{_TITLE_WIDTH}}  {trace.status:>6}  {trace.trace_id}")


def _print_proof(proof: Proof, stack: Stack) -> None:
    click.echo(
        "\nWhat each request left in the database, on its span, and in the collector's file:\n"
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
    _print_where_next(proof, stack)


def _row(trace: Trace) -> dict[str, str]:
    action = trace.step.actions[0] if trace.step.actions else "nothing"
    return {
        "request": trace.step.title,
        "status": str(trace.status),
        "expected": action,
        "audit_row": str(len(trace.rows)),
        "span_event": str(len(trace.span_events)),
        "log_record": str(len(trace.log_records)),
        "": "as it must be" if trace.ok else "WRONG",
    }


def _print_where_next(proof: Proof, stack: Stack) -> None:
    directory = _relative(stack.settings.data_dir)
    files = _relative(stack.settings.collector_files)
    command = f"{_relative(Path(sys.executable).with_name('auditspan'))} --data {directory}"
    click.echo("\nWhere to look next:")
    click.echo(f"  {files / 'audit' / 'audit.jsonl'}       the audit records, as delivered")
    click.echo(f"  {files / 'telemetry' / 'traces.jsonl'}  the spans with their events")
    click.echo(f"  {command} trace {proof.traces[1].trace_id}")
    click.echo(f"  {command} history user {proof.user_id}")
    click.echo(f"  {command} events")
    click.echo(f"  {command} verify")


def _relative(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _as_dict(proof: Proof, stack: Stack) -> dict[str, Any]:
    rows, events, records = proof.counts
    collector = stack.collector
    return {
        "ok": proof.ok,
        "collector": {"version": collector.version} if collector else None,
        "steps": [trace.to_dict() for trace in proof.traces],
        "rows": rows,
        "span_events": events,
        "log_records": records,
        "verify": proof.verified.to_dict(),
        "reconcile": proof.reconciled.to_dict(),
    }
