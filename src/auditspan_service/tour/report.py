"""The printed report of the tour: its proof, and where to look next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from auditspan.cli.commands import print_rows
from auditspan.format import counted
from auditspan_service.tour.proof import Proof, Trace
from auditspan_service.tour.stage import Stage
from auditspan_service.tour.tampering import FORGED, WRITTEN

_CONTAINER_MARKS = (
    Path("/.dockerenv"),
    Path("/run/.containerenv"),
    Path("/run/secrets/kubernetes.io"),
)
"""Files that Docker, Podman and Kubernetes put into a container."""


def print_proof(proof: Proof, stage: Stage) -> None:
    """Print the records of each request, and the checks of the trail."""
    click.echo(
        "\nRecords of each request in the database, on its span, and in the collector's file:\n"
    )
    print_rows([_row(trace) for trace in proof.traces])
    rows, events, records = proof.counts
    click.echo(
        f"\n{rows} audit rows = {events} span events = {records} log records, "
        "joined on trace id, bodies equal byte for byte"
        if proof.joined
        else f"\nMISMATCH: {rows} audit rows, {events} span events, {records} log records"
    )
    verified, reconciled = proof.verified, proof.reconciled
    leaves = counted(verified.tree_size, "leaf", "leaves")
    click.echo(
        f"seal {'verified' if verified.ok else 'BROKEN'}: {leaves}, root {verified.root[:16]}…"
    )
    click.echo(
        f"delivery {'reconciled' if reconciled.ok else 'INCOMPLETE'}: {reconciled.found} of "
        f"{reconciled.rows} rows are in the files, {len(reconciled.unknown)} unknown"
    )
    _print_tampering(proof, stage)
    if proof.joined:
        _print_where_next(proof, stage)


def _row(trace: Trace) -> dict[str, str]:
    return {
        "request": trace.step.title,
        "status": str(trace.status),
        "recorded": _summary(trace.actions),
        "audit_row": str(len(trace.rows)),
        "span_event": str(len(trace.span_events)),
        "log_record": str(len(trace.log_records)),
        "": "ok" if trace.ok else "WRONG",
    }


def _summary(actions: tuple[str, ...]) -> str:
    """Return the actions, which are all the same, as one."""
    times = f" x{len(actions)}" if len(actions) > 1 else ""
    return f"{actions[0]}{times}" if actions else "nothing"


def _print_tampering(proof: Proof, stage: Stage) -> None:
    if proof.tampered is None:
        return
    copy = relative(stage.settings.data_dir / "tampered.db")
    click.echo(f"\nTampering with a copy of the database, {copy}:")
    click.echo(f"  triggers dropped, {WRITTEN!r} changed to {FORGED!r} in the event of the update")
    for finding in proof.tampered.findings:
        click.echo(f"  verify finds  seq {finding.seq}  {finding.kind}  {finding.detail}")
    click.echo(
        "  verification of the copy FAILED, as expected"
        if proof.is_caught
        else "  the change was NOT FOUND"
    )


def print_addresses(proof: Proof, stage: Stage) -> None:
    """Print the pages of this tour."""
    for path, what in (
        ("", "the trail"),
        (f"events/{proof.event_id}", "the update, with its proof"),
        (f"traces/{proof.update.trace_id}", "its trace"),
        (f"history/user/{proof.user_id}", "everything about the user"),
        ("integrity", "the seal and the delivery"),
        ("docs", "the API"),
    ):
        click.echo(f"  {f'{stage.url}/{path}':<75}  {what}")


def _print_where_next(proof: Proof, stage: Stage) -> None:
    files = relative(stage.settings.collector_files)
    click.echo(f"\nWhere to look next{container_note()}:")
    click.echo(f"  {files / 'audit' / 'audit.jsonl'}       the audit records, as delivered")
    click.echo(f"  {files / 'telemetry' / 'traces.jsonl'}  the spans with their events")
    command = "auditspan"
    if stage.is_own:
        command = f"{program()} --data {relative(stage.settings.data_dir)}"
    for rest in (f"trace {proof.update.trace_id}", f"history user {proof.user_id}"):
        click.echo(f"  {command} {rest}")
    click.echo(f"  {command} events")
    click.echo(f"  {command} verify")
    if stage.is_own:
        click.echo(
            f"  {command} up  # the pages, in a browser; the tour with --stay leaves them open"
        )
    elif _in_container():
        click.echo("Run them like the tour, such as with `docker compose exec service auditspan`.")


def program() -> Path:
    """Return the path of this program."""
    return relative(Path(sys.executable).with_name("auditspan"))


def _in_container() -> bool:
    return any(mark.exists() for mark in _CONTAINER_MARKS)


def container_note() -> str:
    """Return a note for addresses and paths that are valid only inside this container."""
    return " (inside this container)" if _in_container() else ""


def relative(path: Path) -> Path:
    """Return the path as it is shown: relative to the current directory, if it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def as_dict(proof: Proof, stage: Stage) -> dict[str, Any]:
    """Return the JSON form of the tour."""
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
        "tampered": proof.tampered.to_dict() if proof.tampered else None,
    }
