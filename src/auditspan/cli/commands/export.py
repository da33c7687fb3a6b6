"""`auditspan export`: the sealed trail in the form of the collector's files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
from sqlalchemy import Connection

from auditspan.cli.commands.console import FOUND, Failure
from auditspan.cli.commands.target import Target, pass_target
from auditspan.cli.group import data_option
from auditspan.delivery import NOTHING, UNFIT, Item, outgoing, record_of, write_records
from auditspan.files import durable_file
from auditspan.format import SealedRow
from auditspan.storage import AuditTables

_BATCH = 512
_BATCH_BYTES = 1 << 20


@click.command()
@click.option(
    "--output",
    "-o",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to create; it must not exist.  [default: standard output]",
)
@click.option(
    "--since", type=click.IntRange(min=0), default=0, help="Start at this sequence number."
)
@data_option
@pass_target
def export(target: Target, *, path: Path | None, since: int) -> None:
    """Write the sealed trail as OTLP JSON lines.

    Writes every sealed record and signed checkpoint in order. The output can be used like the
    collector's files: with `verify --witness`, `reconcile --files`, and
    docs/verify_independently.py, which does not need auditspan.

    Exits with 1 if a row is too damaged to make a record of it; `auditspan verify` reports the
    damage.
    """
    written = damaged = 0
    with _opened(path) as stream, target.reading() as (connection, tables):
        for items in _batches(connection, tables, since - 1 if since else NOTHING):
            records = []
            for item in items:
                try:
                    records.append(record_of(item))
                except UNFIT:
                    damaged += 1
            write_records(stream, records)
            written += len(records)
    click.echo(f"{written} records written, {damaged} left out", err=True)
    if damaged:
        raise SystemExit(FOUND)


def _batches(connection: Connection, tables: AuditTables, after: int) -> Iterator[list[Item]]:
    while items := outgoing(connection, tables, after, limit=_BATCH, max_bytes=_BATCH_BYTES):
        yield items
        after = max(item.seq for item in items if isinstance(item, SealedRow))


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[str]]:
    """Open the output; a file appears under its name only once it is complete."""
    if path is None:
        yield sys.stdout
        return
    if path.exists():
        raise Failure(f"{path} already exists: name a new file.")
    try:
        with durable_file(path) as stream:
            yield stream
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.") from error
