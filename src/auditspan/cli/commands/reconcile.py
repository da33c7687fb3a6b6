"""`auditspan reconcile`: a comparison of the trail with files, a log backend or a Kafka topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from auditspan.cli.commands.console import PLACE, Failure, cut, places, print_result, say
from auditspan.cli.commands.target import Target, on_trail
from auditspan.cli.commands.topic import CONFIGURED, Topic, chosen_topic
from auditspan.delivery import Sink
from auditspan.errors import KeyFileError
from auditspan.format import counted
from auditspan.storage import AuditTables, mark_accepted
from auditspan.storage.keys import load_or_create_signing_keys
from auditspan.trail.settings import TrailSettings, make_sink
from auditspan.verify import (
    ReconcileReport,
    Resent,
    accepted_since,
    reconcile_records,
    resend,
)
from auditspan.verify import reconcile as compare
from auditspan.verify.backends import oldest_moment, read_backend

_NAMES = 5


@click.command()
@click.option(
    "--files",
    multiple=True,
    type=PLACE,
    metavar="FILE…",
    help="The collector's files, or directories with them.",
)
@click.option(
    "--spans",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, allow_dash=True),
    is_flag=False,
    flag_value="-",
    metavar="[PATH]",
    help="Also report rows that span events announce but the table lacks; PATH is a file of spans "
    "or a directory.  [default: telemetry in AUDITSPAN_COLLECTOR_FILES]",
)
@click.option(
    "--backend",
    metavar="URL",
    help="Ask a log backend, VictoriaLogs or Loki, in place of files. Queries are sent with "
    "AUDITSPAN_LOG_BACKEND_HEADERS.",
)
@click.option(
    "--kafka",
    "topic_url",
    is_flag=False,
    flag_value=CONFIGURED,
    metavar="[URL]",
    help="Read a Kafka topic, kafka://BROKER:9092/TOPIC, in place of files.  [default: the first "
    "topic of AUDITSPAN_AUDIT_ENDPOINT and AUDITSPAN_MORE_SINKS]",
)
@click.option("--resend", "again", is_flag=True, help="Send missing records to the sink again.")
@click.option(
    "--sink",
    "sink_name",
    metavar="NAME",
    help="The sink to resend to, one of AUDITSPAN_MORE_SINKS.  [default: that of --kafka, or "
    "AUDITSPAN_SINK]",
)
@click.argument("more", nargs=-1, type=PLACE, metavar="")
@on_trail
def reconcile(
    target: Target,
    *,
    files: tuple[Path, ...],
    spans: tuple[Path, ...],
    more: tuple[Path, ...],
    backend: str | None,
    topic_url: str | None,
    again: bool,
    sink_name: str | None,
) -> None:
    """Compare the table with the collector's files, a log backend or a Kafka topic.

    Compares ids and bodies, both ways. Events of another trail are only counted. Exits with 1 if
    records are missing, unknown, different or deleted, even if they were sent again: run it once
    more to check that they arrived.
    """
    if spans and more:
        raise click.UsageError(
            f"Got unexpected extra argument ({more[0]}): give --spans a directory, or repeat it "
            "for each file."
        )
    if sum(map(bool, (backend, topic_url, files or spans))) > 1:
        raise click.UsageError("--backend, --kafka and --files or --spans cannot be combined.")
    settings = target.diagnosed()
    topic = chosen_topic(settings, topic_url) if topic_url else None
    if topic and again and not (sink_name or topic.sink):
        raise click.UsageError("--resend: the topic is not in the settings; give its --sink.")
    sink = _sink(settings, sink_name or (topic.sink if topic else None))
    given, own = places("--files", files, more), _own_names(settings)
    with closing(sink), target.reading() as (connection, tables):
        if topic:
            report = reconcile_records(connection, tables, topic.records(), names=own)
        elif backend:
            report = _compare_backend(connection, tables, settings, backend)
        else:
            announced = [_spans_place(settings, path) for path in spans]
            audit = given or (settings.collector_files / "audit",)
            report = compare(connection, tables, audit, spans=announced, names=own)
        resent = _resend(target, sink, connection, report) if again else None
    found = report.to_dict() | (topic.to_dict() if topic else {})
    if resent:
        found["resent"] = asdict(resent)
    print_result(found, _lines(report, resent, topic), ok=report.ok)


def _compare_backend(
    connection: Connection, tables: AuditTables, settings: TrailSettings, url: str
) -> ReconcileReport:
    since = oldest_moment(connection, tables)
    connection.rollback()  # the table is read after the backend
    records = read_backend(url, since=since, headers=settings.log_backend_headers)
    return reconcile_records(connection, tables, records, names=_own_names(settings))


def _sink(settings: TrailSettings, name: str | None) -> Sink:
    try:
        return make_sink(settings, name or settings.sink)
    except KeyError:
        known = ", ".join((settings.sink, *settings.more_sinks))
        raise Failure(f"--sink: unknown sink {name!r}; expected one of: {known}.") from None


def _resend(target: Target, sink: Sink, connection: Connection, report: ReconcileReport) -> Resent:
    tables = target.tables
    done = resend(connection, tables, sink, report.missing)
    _take_back(target, sink.name, accepted_since(connection, tables, sink, report, done))
    return done


def _take_back(target: Target, sink: str, event_ids: Sequence[str]) -> None:
    """Mark records that the sink refused before as delivered."""
    if not event_ids:
        return
    try:
        with target.opened_engine() as engine, engine.begin() as connection:
            count = mark_accepted(connection, target.tables, sink, event_ids)
    except SQLAlchemyError as error:
        records = counted(len(event_ids), "record")
        say(
            f"The sink now has {records} that it refused before, but this could not be recorded "
            f"({type(error).__name__}): run this with the worker's privileges.",
            err=True,
        )
    else:
        say(f"The sink now has {counted(count, 'record')} that it refused before.", err=True)


def _lines(report: ReconcileReport, resent: Resent | None, topic: Topic | None) -> Iterator[str]:
    """Yield the report and the outcome of the resend."""
    if topic:
        yield from topic.lines()
    rows, duplicates = counted(report.rows, "row"), counted(report.duplicates, "duplicate")
    yield f"{rows}, {report.found} found, {duplicates}"
    if report.purged:
        yield f"{counted(report.purged, 'event')} found, but purged from the table"
    if report.announced is not None:
        announced = counted(report.announced, "event")
        yield f"{announced} announced on spans, {len(report.deleted)} not in the table"
    if report.others:
        others = counted(sum(report.others.values()), "event")
        yield f"{others} of other trails: {_shortened(report.others)}"
    for kind in ("missing", "unknown", "different", "deleted"):
        yield from cut([f"{kind}  {event_id}" for event_id in getattr(report, kind)])
    if report.damaged_lines:
        pieces = counted(report.damaged_lines, "damaged piece")
        yield f"{pieces} in the files, the first {report.first_damage}"
    if resent:
        yield f"{len(resent.sent)} sent again, {resent.waiting} still waiting for the relay"
        yield from (f"refused  {one}  {reason}" for one, reason in resent.refused.items())
    yield "reconciled" if report.ok else "NOT reconciled"


def _own_names(settings: TrailSettings) -> set[str]:
    """Return the trail's names from the signing key file, if this process can read it."""
    with suppress(KeyFileError):
        keys = load_or_create_signing_keys(settings.signing_key_file, create=False)
        return {key.name for key in keys}
    return set()


def _spans_place(settings: TrailSettings, path: Path) -> Path:
    """Return the given path, or the default of the settings."""
    return settings.collector_files / "telemetry" if path == Path("-") else path


def _shortened(names: Mapping[str, int]) -> str:
    shown = [name[:100] for name in islice(names, _NAMES)]
    return ", ".join(shown if len(names) <= _NAMES else [*shown, "…"])
