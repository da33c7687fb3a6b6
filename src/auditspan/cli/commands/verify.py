"""`auditspan verify`: verification of the sealed trail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection

from auditspan.cli.commands.console import FOUND, PLACE, Failure, cut, places, print_result
from auditspan.cli.commands.progress import progress_bar
from auditspan.cli.commands.target import Target, on_trail
from auditspan.cli.commands.verification_keys import known_keys
from auditspan.format import VERIFIED, Json, MacKey, Outcome, counted
from auditspan.storage import AuditTables
from auditspan.tlog import PublicKey
from auditspan.verify import (
    VerifyReport,
    Witness,
    read_witness,
    verify_trail,
)
from auditspan.verify.state import Difference, StateReport, check_state

_OLDER = {"no-history", "no-create"}


@click.command()
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    metavar="KEY",
    help="The public key of checkpoints, as printed by `auditspan checkpoint --public-key`; may be "
    "repeated.  [default: the keys of AUDITSPAN_SIGNING_KEY_FILE]",
)
@click.option(
    "--witness",
    multiple=True,
    type=PLACE,
    metavar="FILE…",
    help="The collector's files, or directories with them: checkpoints in them must still match.",
)
@click.option(
    "--since",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Read rows from the last checkpoint of at most this size onwards; all checkpoints are "
    "still checked. For a trail that was verified before.",
)
@click.option(
    "--state", is_flag=True, help="Also replay the trail and compare it with the live tables."
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Check rows with N processes.  [default: 1, and from 200,000 rows one on each processor]",
)
@click.option(
    "--metrics", is_flag=True, help="Also send the outcome to the collector, as audit.verify.*."
)
@click.option(
    "--record", is_flag=True, help="Also record the outcome in the trail, as audit.verified."
)
@click.argument("more", nargs=-1, type=PLACE, metavar="")
@on_trail
def verify(
    target: Target,
    *,
    public_keys: tuple[str, ...],
    witness: tuple[Path, ...],
    since: int,
    state: bool,
    processes: int | None,
    metrics: bool,
    record: bool,
    more: tuple[Path, ...],
) -> None:
    """Verify that every sealed row is unchanged.

    \b
    1. the sequence is dense, and every leaf has its row or was purged (`auditspan retain`)
    2. the MAC matches the body (rows older than the key: see `auditspan keys cover`)
    3. the body is canonical JSON
    4. the plain columns match the body
    5. the leaf is the hash of the row
    6. every checkpoint has the root of the leaves before it
    7. every checkpoint is signed
    8. no two rows have the same event id
    9. every checkpoint in the collector's files still matches (--witness)
    10. replaying the trail reproduces the live tables (--state)
    11. no sink has acknowledged more rows than exist
    12. rows without a leaf pass 2 to 4, and are newer than the last checkpoint
    13. erasable values match the body, and are missing only after their erasure

    Exits with 1 if a check fails, or if there is nothing to check.
    """  # noqa: D301 (click reads the character itself)
    keys = known_keys(target, public_keys)
    seen = _witness(places("--witness", witness, more), keys.public, is_only_log=not public_keys)
    with target.reading() as (connection, tables):
        with progress_bar() as progress:
            report = verify_trail(
                connection,
                tables,
                keys.macs,
                keys.public,
                witness=seen,
                since=since,
                progress=progress,
                processes=processes,
            )
        live = _state(connection, tables, keys.macs) if state else None
    if live is None or live.ok:
        _require_reached(since, report)
    found = with_state({**report.to_dict(), "unchecked": keys.unchecked}, live)
    print_result(found, _lines(report, live, keys.unchecked))
    if record:
        _record(target, report, live, keys.unchecked)
    if metrics:
        target.report(report, live)
    if not found["ok"]:
        raise SystemExit(FOUND)


def _record(
    target: Target, report: VerifyReport, live: StateReport | None, unchecked: list[str]
) -> None:
    state: dict[str, Json] = {} if live is None else {"state": live.ok}
    metadata: dict[str, Json] = {**report.summary(), **state, "unchecked": [*unchecked]}
    with target.writing() as (trail, session):
        trail.record(session, VERIFIED, outcome=_outcome(report, live), metadata=metadata)


def _outcome(report: VerifyReport, live: StateReport | None) -> Outcome:
    if report.findings or not (live is None or live.ok):
        return "failure"
    return "success" if report.ok else "unknown"  # nothing is sealed


def _witness(
    places: tuple[Path, ...], keys: Sequence[PublicKey], *, is_only_log: bool
) -> Witness | None:
    if not places:
        return None
    if not keys:
        raise Failure("--witness requires a public key to check signatures: give --public-key.")
    return read_witness(places, keys, is_only_log=is_only_log)


def _state(connection: Connection, tables: AuditTables, macs: Sequence[MacKey]) -> StateReport:
    with progress_bar() as progress:  # in the same snapshot as the other checks
        return check_state(
            connection, tables, tables.event.metadata, mac_key=macs, progress=progress
        )


def _require_reached(since: int, report: VerifyReport) -> None:
    """Fail if `--since` is beyond the trail: it may have lost its newest rows."""
    if report.ok and since > report.tree_size:
        raise Failure(
            f"--since {since}: the trail has only {counted(report.tree_size, 'sealed row')}. If it "
            "had more before, its newest rows are lost: verify it with --witness, not --since."
        )


def _lines(report: VerifyReport, live: StateReport | None, unchecked: list[str]) -> Iterator[str]:
    checkpoints = counted(report.checkpoints, "checkpoint")
    yield f"{counted(report.rows, 'row')}, {report.tree_size} sealed, {checkpoints}"
    if report.purge:
        rows = counted(report.purged, "row")
        yield (
            f"{rows} purged, below sequence number {report.purge['size']}: event "
            f"{report.purge['event_id']} by {report.purge['actor']}, {report.purge['reason']}"
        )
    if report.since:
        yield f"read from sequence number {report.since} onwards"
    if report.witnessed:
        yield f"{counted(report.witnessed, 'checkpoint')} witnessed"
    yield f"root {report.root}"
    yield from cut(
        [
            f"seq {'-' if one.seq is None else one.seq}  {one.kind}  {one.detail}  "
            f"{one.event_id or ''}"
            for one in report.findings
        ]
    )
    if report.tree_size == 0:
        yield "nothing to verify: no rows are sealed yet"
    else:
        left_out = f" (not checked: {', '.join(unchecked)})" if unchecked else ""
        yield ("verified" if report.ok else "verification FAILED") + left_out
    if live is not None:
        yield from of_state(live)


def with_state(verified: Mapping[str, Any], state: StateReport | None) -> dict[str, Any]:
    """Return the JSON object of `verify`, including the state check if it was requested."""
    if state is None:
        return dict(verified)
    return {**verified, "ok": verified["ok"] and state.ok, "state": state.to_dict()}


def of_state(state: StateReport) -> Iterator[str]:
    """Yield lines with the differences and the result of the state check."""
    yield from cut([_line(difference) for difference in state.differences])
    counts = state.counts()
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "no difference"
    objects, events = counted(state.objects, "object"), counted(state.events, "event")
    yield f"{objects} compared with {events}: {found}"
    if _OLDER & counts.keys():
        yield "no-history, no-create: rows that are older than the trail or bypassed it"
    if state.events == 0:
        yield "the tables were not compared: the trail has no changes"
    else:
        yield "the tables " + ("match" if state.ok else "do NOT match") + " the trail"


def _line(difference: Difference) -> str:
    place = (difference.table, difference.key, difference.field)
    shown = "  ".join([difference.kind, " ".join(part for part in place if part is not None)])
    if difference.field is None:
        return shown if difference.recorded is None else f"{shown}  {difference.recorded}"
    return f"{shown}  recorded {difference.recorded!r}, live {difference.live!r}"
