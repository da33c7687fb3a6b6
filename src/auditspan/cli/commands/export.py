"""`auditspan export`: the sealed trail in the form of the collector's files, or another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

import click
from sqlalchemy import Connection

from auditspan.cli.commands.console import FOUND, Failure
from auditspan.cli.commands.criteria import criteria, filter_of
from auditspan.cli.commands.progress import progress_bar
from auditspan.cli.commands.target import Target, pass_target
from auditspan.cli.commands.times import as_time
from auditspan.cli.options import data_option
from auditspan.delivery import NOTHING, UNFIT, Item, outgoing, record_of, write_records
from auditspan.errors import NotSealedError
from auditspan.format import SealedRow
from auditspan.reading import (
    Read,
    export_cloudevents,
    export_csv,
    export_ndjson,
    export_ocsf,
)
from auditspan.storage import AuditTables, EventFilter, latest_checkpoint
from auditspan.storage.files import durable_file

_Write = Callable[[Read, AuditTables, EventFilter], Iterator[str]]

_FORMS: dict[str, _Write] = {
    "ndjson": export_ndjson,
    "csv": export_csv,
    "ocsf": export_ocsf,
    "cloudevents": export_cloudevents,
}
_UNITS = {"otlp": "records"}
_STANDARD_OUTPUT = Path("-")
_BATCH = 512
_BATCH_BYTES = 1 << 20


def _as_start(
    context: click.Context, option: click.Parameter, value: str | None
) -> int | datetime | None:
    """Read a sequence number, or a time."""
    if value is not None and value.isascii() and value.isdigit():
        return int(value)
    return as_time(context, option, value)


@click.command()
@click.option(
    "--output",
    "-o",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The file to create, which must not exist; `-` for standard output, the default.",
)
@click.option(
    "--since",
    callback=_as_start,
    metavar="N|TIME",
    help="Start at this sequence number (otlp), or only events from this time on (other forms).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["otlp", *_FORMS]),
    default="otlp",
    show_default=True,
    help="The form of the output; all but otlp hold the events up to the newest checkpoint.",
)
@criteria
@data_option
@pass_target
def export(
    target: Target, *, path: Path | None, since: int | datetime | None, form: str, **wanted: object
) -> None:
    """Write the sealed trail as OTLP JSON lines, or in another form.

    OTLP has every sealed record and signed checkpoint in order. The output can be used like the
    collector's files: with `verify --witness`, `reconcile --files`, and
    docs/verify_independently.py, which does not need auditspan. The other forms are those of
    `GET /v1/audit-events/export`, with the filters of `auditspan events`: `ndjson` ends with a
    manifest by which it can be checked, `csv` is for spreadsheets, `ocsf` for a SIEM, `cloudevents`
    for a broker.

    Exits with 1 if a row is too damaged to make a record of it; `auditspan verify` reports the
    damage.
    """
    first = since if isinstance(since, int) else None
    asked = filter_of({**wanted, "since": since if isinstance(since, datetime) else None})
    if form == "otlp" and asked != EventFilter():
        raise click.UsageError(
            f"Filters need another form: leave them out, or use --format {' or '.join(_FORMS)}."
        )
    if form != "otlp" and first is not None:
        raise click.UsageError("--since N needs the form otlp: give a time, or use --format otlp.")
    with _opened(path) as stream, target.reading() as (connection, tables):
        if form == "otlp":
            written, damaged = _write_otlp(stream, connection, tables, first or 0)
        else:
            written, damaged = _write_lines(stream, _FORMS[form], connection, tables, asked), 0
    click.echo(f"{written} {_UNITS.get(form, 'lines')} written, {damaged} left out", err=True)
    if damaged:
        raise SystemExit(FOUND)


def _write_otlp(
    stream: IO[str], connection: Connection, tables: AuditTables, since: int
) -> tuple[int, int]:
    """Write the records; return how many, and how many are too damaged to be written."""
    written = damaged = 0
    for items in _batches(connection, tables, since - 1 if since else NOTHING):
        records = []
        for item in items:
            try:
                records.append(record_of(item))
            except UNFIT:
                damaged += 1
        write_records(stream, records)
        written += len(records)
    return written, damaged


def _write_lines(
    stream: IO[str],
    write: _Write,
    connection: Connection,
    tables: AuditTables,
    wanted: EventFilter,
) -> int:
    """Write the lines of an export; return how many."""
    checkpoint, written = latest_checkpoint(connection, tables), 0
    total = checkpoint.size if checkpoint else 0
    with progress_bar() as advance:
        try:
            for line in write(lambda work: work(connection), tables, wanted):
                stream.write(line)
                written += 1
                if advance and written % _BATCH == 0:
                    advance(_BATCH, total)
        except NotSealedError as error:
            raise Failure("Nothing is sealed yet, so that there is nothing to export.") from error
    return written


def _batches(connection: Connection, tables: AuditTables, after: int) -> Iterator[list[Item]]:
    while items := outgoing(connection, tables, after, limit=_BATCH, max_bytes=_BATCH_BYTES):
        yield items
        after = max(item.seq for item in items if isinstance(item, SealedRow))


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[str]]:
    """Open the output; a file appears under its name only once it is complete."""
    if path is None or path == _STANDARD_OUTPUT:
        yield sys.stdout
        return
    if path.exists():
        raise Failure(f"{path} already exists: name a new file.")
    try:
        with durable_file(path) as stream:
            yield stream
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.") from error
