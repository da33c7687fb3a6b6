"""`auditspan verify` and `auditspan reconcile`: is the trail whole, and is it delivered?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import click
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from auditspan import MacKey
from auditspan.delivery import Sink
from auditspan.storage import AuditTables, take_back
from auditspan.tlog import PublicKey
from auditspan.verify import (
    Progress,
    ReconcileReport,
    Resent,
    VerifyReport,
    Witness,
    read_witness,
    resend,
    taken_since,
    verify_trail,
)
from auditspan.verify import reconcile as compare
from auditspan.verify.state import StateReport, check_state
from auditspan_service.cli.console import (
    FOUND,
    Failure,
    data_option,
    json_option,
    print_object,
    say,
)
from auditspan_service.cli.database import (
    opened_engine,
    opened_trail,
)
from auditspan_service.cli.reconciled import own_names, print_reconciled, spans_place
from auditspan_service.cli.state import print_state, with_state
from auditspan_service.cli.verification_keys import known_keys
from auditspan_service.config import Settings, load_settings
from auditspan_service.models import Base
from auditspan_service.telemetry.reporting import report_verified
from auditspan_service.worker import make_sink

_SHOWN = 20
_PLACE = click.Path(path_type=Path, exists=True)


@click.command()
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    metavar="KEY",
    help="A key that signs checkpoints, as `auditspan checkpoint --public-key` prints it; may be "
    "repeated.  [default: that of AUDITSPAN_SIGNING_KEY_FILE]",
)
@click.option(
    "--witness",
    multiple=True,
    type=_PLACE,
    metavar="FILE…",
    help="Files of the collector, or directories of them: what they have seen must still be there.",
)
@click.option(
    "--since",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Read the rows from the last checkpoint of at most this size on; all checkpoints are "
    "checked. For a trail that was verified before.",
)
@click.option(
    "--state", is_flag=True, help="Replay the trail, too, and compare with the live tables."
)
@click.option(
    "--metrics", is_flag=True, help="Send the outcome to the collector, too, as audit.verify.*."
)
@click.argument("more", nargs=-1, type=_PLACE, metavar="")
@json_option
@data_option
def verify(  # noqa: PLR0913 (one for each option)
    *,
    public_keys: tuple[str, ...],
    witness: tuple[Path, ...],
    since: int,
    state: bool,
    metrics: bool,
    more: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check that every sealed row is as it was written.

    \b
    1. the sequence is dense, and every leaf has its row
    2. the MAC is that of the body (rows from before a late key: see `auditspan keys cover`)
    3. the body is canonical JSON
    4. the plain columns are what the body says
    5. the leaf is the hash of the row
    6. every checkpoint has the root of the leaves before it
    7. every checkpoint is signed
    8. no two rows have the same event id
    9. what the collector's files have seen is still there (--witness)
    10. replaying the trail gives the live tables (--state)
    11. no sink has acknowledged more rows than there are
    12. rows without a leaf hold 2 to 4, and are newer than the last checkpoint

    Exit code 1 when something is wrong, and when there is nothing to check.
    """  # noqa: D301 (click reads the character itself)
    settings = load_settings()
    keys = known_keys(settings, public_keys)
    seen = _witness(_places("--witness", witness, more), keys.public, is_only_log=not public_keys)
    with opened_trail() as (connection, tables):
        with _progress() as progress:
            report = verify_trail(
                connection,
                tables,
                keys.macs,
                keys.public,
                witness=seen,
                since=since,
                progress=progress,
            )
        live = _state(connection, tables, keys.macs) if state else None
    if live is None or live.ok:
        _require_reached(since, report)
    _print_verified(report, live, keys.unchecked, as_json=as_json)
    if metrics:
        report_verified(settings, report, live)
    if not (report.ok and (live is None or live.ok)):
        raise SystemExit(FOUND)


@click.command()
@click.option(
    "--files",
    multiple=True,
    type=_PLACE,
    metavar="FILE…",
    help="Files of the collector, or directories of them.",
)
@click.option(
    "--spans",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, allow_dash=True),
    is_flag=False,
    flag_value="-",
    metavar="[PATH]",
    help="Name rows, too, that span events announced and the table lacks: a file of spans, or a "
    "directory.  [default: telemetry in AUDITSPAN_COLLECTOR_FILES]",
)
@click.option("--resend", "again", is_flag=True, help="Send what is missing to the sink again.")
@click.option(
    "--sink",
    "sink_name",
    metavar="NAME",
    help="Where to send: one of AUDITSPAN_MORE_SINKS. By default that of AUDITSPAN_SINK.",
)
@click.argument("more", nargs=-1, type=_PLACE, metavar="")
@json_option
@data_option
def reconcile(  # noqa: PLR0913 (one for each option)
    *,
    files: tuple[Path, ...],
    spans: tuple[Path, ...],
    more: tuple[Path, ...],
    again: bool,
    sink_name: str | None,
    as_json: bool,
) -> None:
    """Compare the ids and bodies of the table with those in the collector's files, both ways.

    Events with the name of another trail are only counted. Exit code 1 when something is missing,
    unknown, different or deleted, also when it was sent again: the next run shows whether that
    arrived.
    """
    if spans and more:
        raise click.UsageError(f"Give --spans a directory, or once for each file: {more[0]}.")
    settings = load_settings()
    sink = _sink(settings, sink_name)
    given = _places("--files", files, more)
    with closing(sink), opened_trail() as (connection, tables):
        announced = [spans_place(settings, path) for path in spans]
        audit = given or (settings.collector_files / "audit",)
        own = own_names(settings)
        report = compare(connection, tables, audit, spans=announced, names=own)
        resent = _resend(sink, connection, tables, report) if again else None
    print_reconciled(report, resent, as_json=as_json)
    if not report.ok:
        raise SystemExit(FOUND)


def _places(option: str, named: tuple[Path, ...], more: tuple[Path, ...]) -> tuple[Path, ...]:
    """What the option names, and what a shell has put behind it for a pattern."""
    if more and not named:
        raise click.UsageError(f"Got unexpected extra argument ({more[0]}): see {option}.")
    return named + more


def _witness(
    places: tuple[Path, ...], keys: Sequence[PublicKey], *, is_only_log: bool
) -> Witness | None:
    if not places:
        return None
    if not keys:
        raise Failure("Without a public key no checkpoint can be believed: give --public-key.")
    return read_witness(places, keys, is_only_log=is_only_log)


def _state(connection: Connection, tables: AuditTables, macs: Sequence[MacKey]) -> StateReport:
    with _progress() as progress:  # in the same snapshot as the rest
        return check_state(connection, tables, Base.metadata, mac_key=macs, progress=progress)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar on standard error, where somebody is looking."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=0, label="rows", file=sys.stderr, show_pos=True) as bar:

        def tell(step: int, total: int) -> None:
            bar.length = total
            bar.update(step)

        yield tell


def _require_reached(since: int, report: VerifyReport) -> None:
    """Nothing to check is not success: a trail that was longer before is not whole."""
    if report.ok and since > report.tree_size:
        raise Failure(
            f"--since {since}: the trail has only {report.tree_size} sealed rows. If it had more "
            "before, its newest rows are gone: verify it without --since and with --witness."
        )


def _print_verified(
    report: VerifyReport, live: StateReport | None, unchecked: list[str], *, as_json: bool
) -> None:
    if as_json:
        print_object(with_state({**report.to_dict(), "unchecked": unchecked}, live))
        return
    say(f"{report.rows} rows, {report.tree_size} sealed, {report.checkpoints} checkpoints")
    if report.since:
        say(f"read from sequence number {report.since} on")
    if report.witnessed:
        say(f"{report.witnessed} checkpoints witnessed")
    say(f"root {report.root}")
    for finding in report.findings[:_SHOWN]:
        place = "-" if finding.seq is None else finding.seq
        say(f"seq {place}  {finding.kind}  {finding.detail}  {finding.event_id or ''}")
    _more(len(report.findings))
    if report.tree_size == 0:
        say("nothing is sealed yet, so nothing could be verified")
    else:
        left_out = f" (not checked: {', '.join(unchecked)})" if unchecked else ""
        say(("verified" if report.ok else "NOT as it was written") + left_out)
    if live is not None:
        print_state(live)


def _sink(settings: Settings, name: str | None) -> Sink:
    try:
        return make_sink(settings, name or settings.sink)
    except KeyError:
        known = ", ".join((settings.sink, *settings.more_sinks))
        raise Failure(f"There is no sink {name!r}. There are: {known}.") from None


def _resend(
    sink: Sink, connection: Connection, tables: AuditTables, report: ReconcileReport
) -> Resent:
    done = resend(connection, tables, sink, report.missing)
    _take_back(tables, sink.name, taken_since(connection, tables, sink, report, done))
    return done


def _take_back(tables: AuditTables, sink: str, event_ids: Sequence[str]) -> None:
    """Let what was refused before count as delivered."""
    if not event_ids:
        return
    try:
        with opened_engine() as engine, engine.begin() as connection:
            count = take_back(connection, tables, sink, event_ids)
    except SQLAlchemyError as error:
        say(
            f"{len(event_ids)} records that the sink had refused are there now, and still count as "
            f"undelivered, since that could not be noted ({type(error).__name__}): run it with the "
            "worker's rights.",
            err=True,
        )
    else:
        say(f"{count} records that the sink had refused are delivered now", err=True)


def _more(count: int) -> None:
    if count > _SHOWN:
        say(f"… and {count - _SHOWN} more")
