"""`auditspan db restored`: continuation of the trail from an older backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from sqlalchemy import Connection

from auditspan.cli.commands.console import PLACE, Failure, places, print_result
from auditspan.cli.commands.target import Target, on_trail
from auditspan.seal import IsGrownFrom, LastSignedFile, Sealer
from auditspan.storage import AuditTables, latest_checkpoint
from auditspan.storage.keys import last_signed_file, load_or_create_signing_keys
from auditspan.storage.locks import read_leases
from auditspan.tlog import SigningKey, Tree, incarnation_of, split_origin
from auditspan.trail.settings import TrailSettings
from auditspan.verify import read_witness

_ACTION = "trail.restore"


@dataclass(kw_only=True)
class _Onwards:
    """Signing under a new incarnation, stored where workers read the last signed note."""

    least: int
    file: LastSignedFile
    note: str | None = None

    def incarnation(
        self,
        tree: Tree,  # noqa: ARG002 (its interface)
        incarnation: int,
        *,
        is_grown_from: IsGrownFrom | None = None,  # noqa: ARG002
    ) -> int:
        return max(self.least, incarnation)

    def remember(self, note: str) -> None:
        self.note = note
        self.file.remember(note)


@click.command()
@click.option("--reason", help="The reason, recorded.  [default: an older backup was restored]")
@click.option(
    "--witness",
    multiple=True,
    type=PLACE,
    metavar="FILE…",
    help="The collector's files, or directories with them: no incarnation in them is used again.  "
    "[default: the directory audit in AUDITSPAN_COLLECTOR_FILES, if it exists]",
)
@click.argument("more", nargs=-1, type=PLACE, metavar="")
@on_trail
def restored(
    target: Target, *, reason: str | None, witness: tuple[Path, ...], more: tuple[Path, ...]
) -> None:
    """Continue the trail from an older backup, as a new incarnation.

    Checkpoints that were signed after the backup must not be contradicted, so new checkpoints are
    signed under another name: `auditspan/…/2` after `…/1`. The restore is recorded in the trail
    (trail.restore).

    Run it before the workers start, with the privileges of the tables' owner and with both keys.
    It recovers no lost rows: `auditspan verify --witness` reports them.
    """
    settings = target.settings
    signers = load_or_create_signing_keys(settings.signing_key_file, create=False)
    files = places("--witness", witness, more) or _own_files(settings)
    file = LastSignedFile(last_signed_file(settings.signing_key_file), log=signers[0].name)
    with target.reading() as (connection, tables):
        _require_no_worker(connection, tables)
        in_table = _in_table(connection, tables)
    seen = max(in_table, _in_files(files, signers), _remembered(file))
    onwards = _Onwards(least=seen + 1, file=file)
    event_id = _record(target, reason or "an older backup was restored", onwards.least)
    _seal(target, signers, onwards)
    origin, size, *_ = str(onwards.note).splitlines()
    members = {"incarnation": split_origin(origin)[1], "origin": origin}
    print_result(
        {**members, "tree_size": int(size), "event_id": event_id},
        [
            f"The trail continues as {origin}; its first checkpoint has size {size}.",
            "Start the workers. `auditspan verify --witness` reports the lost rows.",
        ],
    )


def _require_no_worker(connection: Connection, tables: AuditTables) -> None:
    """Refuse to record anything while a worker seals, where the database knows its workers.

    Raises:
        Failure: a worker is running.
    """
    for lease in read_leases(connection, tables).values():
        if lease.is_current:
            raise Failure(
                f"A worker is running, {lease.description}: stop every worker and run this again. "
                "Nothing was recorded."
            )


def _own_files(settings: TrailSettings) -> tuple[Path, ...]:
    audit = settings.collector_files / "audit"
    return (audit,) if audit.exists() else ()


def _in_table(connection: Connection, tables: AuditTables) -> int:
    """Return the incarnation of the newest checkpoint."""
    newest = latest_checkpoint(connection, tables)
    return incarnation_of(newest.note if newest else None)


def _in_files(files: Sequence[Path], signers: Sequence[SigningKey]) -> int:
    """Return the newest incarnation in the collector's files."""
    seen = read_witness(files, [key.public for key in signers]).checkpoints if files else ()
    return max((split_origin(checkpoint.origin)[1] for checkpoint in seen), default=0)


def _remembered(file: LastSignedFile) -> int:
    last = file.last()
    return split_origin(last.origin)[1] if last else 0


def _record(target: Target, reason: str, incarnation: int) -> str:
    """Record the restore in the trail and return the event id."""
    with target.writing() as (trail, session):
        return trail.record(session, _ACTION, reason=reason, metadata={"incarnation": incarnation})


def _seal(target: Target, signers: Sequence[SigningKey], onwards: _Onwards) -> None:
    """Seal all waiting rows, the record of the restore last."""
    with target.opened_engine() as engine:
        sealer = Sealer(
            engine,
            target.tables,
            signing_key=signers,
            mac_key=target.mac_keys(),
            last_signed=onwards,
        )
        while sealer.seal():
            pass
    if onwards.note is None:
        raise Failure(
            "A running worker sealed the record of the restore under the previous incarnation: "
            "stop the workers and run this again."
        )
