"""How `auditspan reconcile` reports what it found."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from auditspan.verify import ReconcileReport, Resent
from auditspan_service.cli.console import print_object, say
from auditspan_service.config import Settings
from auditspan_service.errors import KeyFileError
from auditspan_service.files.key_files import load_or_create_signing_keys

_SHOWN = 20
_NAMES = 5


def print_reconciled(report: ReconcileReport, resent: Resent | None, *, as_json: bool) -> None:
    """Print the report, and what became of the events that were sent again."""
    if as_json:
        print_object(report.to_dict() | ({"resent": asdict(resent)} if resent else {}))
        return
    say(f"{report.rows} rows, {report.found} found, {report.duplicates} duplicates")
    if report.announced is not None:
        say(f"{report.announced} events announced on spans, {len(report.deleted)} not in the table")
    if report.others:
        say(f"{sum(report.others.values())} events of other trails: {_shortened(report.others)}")
    for kind in ("missing", "unknown", "different", "deleted"):
        _print_ids(kind, getattr(report, kind))
    if report.damaged_lines:
        say(f"{report.damaged_lines} pieces of the files are damaged")
    if resent:
        say(f"{len(resent.sent)} sent again, {resent.waiting} still waiting for the relay")
        for event_id, reason in resent.refused.items():
            say(f"refused  {event_id}  {reason}")
    say("reconciled" if report.ok else "NOT reconciled")


def own_names(settings: Settings) -> set[str]:
    """Return the name of the trail in the signing key file, if this process can read that."""
    with suppress(KeyFileError):
        keys = load_or_create_signing_keys(settings.signing_key_file, create=False)
        return {key.name for key in keys}
    return set()


def spans_place(settings: Settings, path: Path) -> Path:
    """The place that was named, or that of the settings where none was."""
    return settings.collector_files / "telemetry" if path == Path("-") else path


def _shortened(names: Mapping[str, int]) -> str:
    shown = [name[:100] for name in islice(names, _NAMES)]
    return ", ".join(shown if len(names) <= _NAMES else [*shown, "…"])


def _print_ids(kind: str, ids: list[str]) -> None:
    for event_id in ids[:_SHOWN]:
        say(f"{kind}  {event_id}")
    if len(ids) > _SHOWN:
        say(f"… and {len(ids) - _SHOWN} more")
