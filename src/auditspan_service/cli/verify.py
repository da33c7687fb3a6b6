"""`auditspan verify`: is the trail as it was written?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection

from auditspan import MacKey
from auditspan.storage import AuditTables
from auditspan.tlog import PublicKey
from auditspan.verify import (
    Progress,
    VerifyReport,
    Witness,
    read_witness,
    verify_trail,
)
from auditspan.verify.state import Difference, StateReport, check_state
from auditspan_service.cli.console import (
    FOUND,
    PLACE,
    Failure,
    data_option,
    json_option,
    places,
    print_object,
    say,
)
from auditspan_service.cli.database import opened_trail
from auditspan_service.cli.verification_keys import known_keys
from auditspan_service.config import load_settings
from auditspan_service.models import Base
from auditspan_service.telemetry.reporting import report_verified

_SHOWN = 20
_OLDER = {"no-history", "no-create"}


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
    type=PLACE,
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
@click.argument("more", nargs=-1, type=PLACE, metavar="")
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
    seen = _witness(places("--witness", witness, more), keys.public, is_only_log=not public_keys)
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


def _more(count: int) -> None:
    if count > _SHOWN:
        say(f"… and {count - _SHOWN} more")


def with_state(verified: Mapping[str, Any], state: StateReport | None) -> dict[str, Any]:
    """The JSON object of `verify`, with that of the state check where it was asked for."""
    if state is None:
        return dict(verified)
    return {**verified, "ok": verified["ok"] and state.ok, "state": state.to_dict()}


def print_state(state: StateReport) -> None:
    """The differences for people, and whether there are any that count."""
    for difference in state.differences[:_SHOWN]:
        say(_line(difference))
    _more(len(state.differences))
    counts = state.counts()
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "no difference"
    say(f"{state.objects} objects compared with {state.events} events: {found}")
    if _OLDER & counts.keys():
        say("no-history, no-create: older than the trail, or written past it")
    if state.events == 0:
        say("the trail has no changes, so the tables could not be compared")
    else:
        say("the tables are " + ("" if state.ok else "NOT ") + "what the trail says")


def _line(difference: Difference) -> str:
    place = (difference.table, difference.key, difference.field)
    shown = "  ".join([difference.kind, " ".join(part for part in place if part is not None)])
    if difference.field is None:
        return shown if difference.recorded is None else f"{shown}  {difference.recorded}"
    return f"{shown}  recorded {difference.recorded!r}, live {difference.live!r}"
