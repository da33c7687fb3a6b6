"""`auditspan db restored`: continuation of the trail from an older backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from sqlalchemy import select

from auditspan.cli import data_option
from auditspan.cli.commands import Failure, json_option, print_result
from auditspan.seal import IsGrownFrom, LastSignedFile, Sealer
from auditspan.storage.keys import last_signed_file, load_mac_keys, load_or_create_signing_keys
from auditspan.tlog import SigningKey, Tree, incarnation_of, split_origin
from auditspan.verify import read_witness
from auditspan_service.cli.database import opened_services
from auditspan_service.config import Settings, load_settings
from auditspan_service.services import Services

_ACTION = "trail.restore"
_PLACE = click.Path(path_type=Path, exists=True)


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
    type=_PLACE,
    metavar="FILE…",
    help="The collector's files, or directories with them: no incarnation in them is used again.  "
    "[default: the directory audit in AUDITSPAN_COLLECTOR_FILES, if it exists]",
)
@click.argument("more", nargs=-1, type=_PLACE, metavar="")
@json_option
@data_option
def restored(*, reason: str | None, witness: tuple[Path, ...], more: tuple[Path, ...]) -> None:
    """Continue the trail from an older backup, as a new incarnation.

    Checkpoints that were signed after the backup must not be contradicted, so new checkpoints are
    signed under another name: `auditspan/…/2` after `…/1`. The restore is recorded in the trail
    (trail.restore).

    Run it before the workers start, with the privileges of the tables' owner and with both keys.
    It recovers no lost rows: `auditspan verify --witness` reports them.
    """
    settings = load_settings()
    signers = load_or_create_signing_keys(settings.signing_key_file, create=False)
    places = witness + more or _own_files(settings)
    file = LastSignedFile(last_signed_file(settings.signing_key_file), log=signers[0].name)
    with opened_services() as services:
        seen = max(_in_table(services), _in_files(places, signers), _remembered(file))
        onwards = _Onwards(least=seen + 1, file=file)
        event_id = _record(services, reason or "an older backup was restored", onwards.least)
        _seal(services, settings, signers, onwards)
    origin, size, *_ = str(onwards.note).splitlines()
    members = {"incarnation": split_origin(origin)[1], "origin": origin}
    print_result(
        {**members, "tree_size": int(size), "event_id": event_id},
        [
            f"The trail continues as {origin}; its first checkpoint has size {size}.",
            "Start the workers. `auditspan verify --witness` reports the lost rows.",
        ],
    )


def _own_files(settings: Settings) -> tuple[Path, ...]:
    audit = settings.collector_files / "audit"
    return (audit,) if audit.exists() else ()


def _in_table(services: Services) -> int:
    """Return the incarnation of the newest checkpoint."""
    point = services.trail.tables.checkpoint.c
    newest = select(point.note).order_by(point.tree_size.desc()).limit(1)
    with services.database.reading() as session:
        return incarnation_of(session.scalar(newest))


def _in_files(places: Sequence[Path], signers: Sequence[SigningKey]) -> int:
    """Return the newest incarnation in the collector's files."""
    seen = read_witness(places, [key.public for key in signers]).checkpoints if places else ()
    return max((split_origin(checkpoint.origin)[1] for checkpoint in seen), default=0)


def _remembered(file: LastSignedFile) -> int:
    last = file.last()
    return split_origin(last.origin)[1] if last else 0


def _record(services: Services, reason: str, incarnation: int) -> str:
    """Record the restore in the trail and return the event id."""
    with services.database.writing() as session:
        return services.trail.record(
            session, _ACTION, reason=reason, metadata={"incarnation": incarnation}
        )


def _seal(
    services: Services, settings: Settings, signers: Sequence[SigningKey], onwards: _Onwards
) -> None:
    """Seal all waiting rows, the record of the restore last."""
    sealer = Sealer(
        services.database.engine,
        services.trail.tables,
        signing_key=signers,
        mac_key=load_mac_keys(settings.mac_key_file),
        last_signed=onwards,
    )
    while sealer.seal():
        pass
    if onwards.note is None:
        raise Failure(
            "A running worker sealed the record of the restore under the previous incarnation: "
            "stop the workers and run this again."
        )
