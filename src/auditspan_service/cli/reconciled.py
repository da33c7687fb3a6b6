"""How `auditspan reconcile` reports what it found."""

from __future__ import annotations

from dataclasses import asdict

from auditspan.reconcile import ReconcileReport, Resent
from auditspan_service.cli.console import print_object, say

_SHOWN = 20


def print_reconciled(report: ReconcileReport, resent: Resent | None, *, as_json: bool) -> None:
    """Print the report, and what became of the events that were sent again."""
    if as_json:
        print_object(report.to_dict() | ({"resent": asdict(resent)} if resent else {}))
        return
    say(f"{report.rows} rows, {report.found} found, {report.duplicates} duplicates")
    if report.announced is not None:
        say(f"{report.announced} events announced on spans, {len(report.deleted)} not in the table")
    for kind in ("missing", "unknown", "different", "deleted"):
        _print_ids(kind, getattr(report, kind))
    if report.damaged_lines:
        say(f"{report.damaged_lines} pieces of the files are damaged")
    if resent:
        say(f"{len(resent.sent)} sent again, {resent.waiting} still waiting for the relay")
        for event_id, reason in resent.refused.items():
            say(f"refused  {event_id}  {reason}")
    say("reconciled" if report.ok else "NOT reconciled")


def _print_ids(kind: str, ids: list[str]) -> None:
    for event_id in ids[:_SHOWN]:
        say(f"{kind}  {event_id}")
    if len(ids) > _SHOWN:
        say(f"… and {len(ids) - _SHOWN} more")
