"""`verify_trail`: verification of the trail in a database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from auditspan.delivery import stored_cursors
from auditspan.format import Json, Keyring, MacKeys, counted
from auditspan.storage import (
    AuditTables,
    StoredNumber,
    StoredText,
    key_additions,
    last_purge,
    lift_time_limits,
    stored_bytes,
)
from auditspan.tlog import PublicKey, Tree
from auditspan.verify.finding import Finding, about_size
from auditspan.verify.row_check import RowCheck
from auditspan.verify.sealed_rows import Progress, SealedRows
from auditspan.verify.steps import StoredCheckpoint, Verifier, check_notes
from auditspan.verify.unsealed_rows import check_unsealed
from auditspan.verify.witness import Witness, check_witness


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """The result of `verify_trail`. Nothing to check is not success: an empty trail is not `ok`.

    Attributes:
        rows: the number of committed rows.
        unsealed: the number of rows without a leaf.
        tree_size: the number of leaves.
        root: the root over all leaves, in hexadecimal.
        checkpoints: the number of checkpoints in the table.
        findings: the failures that were found.
        since: the first leaf that was checked; those before it were not read.
        witnessed: the number of checkpoints that the witness has seen.
        purged: the number of leaves whose rows were removed by a purge.
        purge: the authorised purge of the most rows, as `Purge.resource`.
    """

    rows: int
    unsealed: int
    tree_size: int
    root: str
    checkpoints: int
    findings: list[Finding]
    since: int = 0
    witnessed: int = 0
    purged: int = 0
    purge: dict[str, Json] | None = None

    @property
    def ok(self) -> bool:
        """True if there was something to check, and nothing was found."""
        return self.tree_size > 0 and not self.findings

    def summary(self) -> dict[str, Json]:
        """Return the outcome without the findings, as metadata of an event `audit.verified`."""
        return {
            "ok": self.ok,
            "rows": self.rows,
            "tree_size": self.tree_size,
            "root": self.root,
            "since": self.since,
            "witnessed": self.witnessed,
            "findings": len(self.findings),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the fixed JSON form."""
        return {"ok": self.ok, **asdict(self)}


def verify_trail(
    connection: Connection,
    tables: AuditTables,
    key: MacKeys,
    public_keys: Sequence[PublicKey] = (),
    *,
    witness: Witness | None = None,
    since: int = 0,
    progress: Progress | None = None,
    processes: int | None = 1,
) -> VerifyReport:
    """Check every row, in constant memory; rows that are not sealed yet have no leaf to check.

    The connection MUST see one snapshot throughout (REPEATABLE READ on PostgreSQL), or rows that
    are sealed meanwhile look like findings.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        key: the key of the MACs, or all past and present keys; without keys, MACs are not checked.
        public_keys: the keys of the notes; without keys, notes are not checked.
        witness: the checkpoints in the collector's files.
        since: start at the last checkpoint of at most this size; leaves before it count as
            checked. The checkpoints before it are checked in any case.
        progress: called with the progress of the check.
        processes: how many processes check rows; None for one on each processor if there are many
            rows. They read what is committed, on SQLite possibly a moment later than this one.
    """
    lift_time_limits(connection)
    check = _TrailCheck(connection, tables, Keyring(key), witness)
    rows = check.rows(since, progress, processes)
    return check.report(rows, public_keys)


class _TrailCheck:
    """Verification of one trail, which is read from one connection."""

    def __init__(
        self, connection: Connection, tables: AuditTables, keys: Keyring, witness: Witness | None
    ) -> None:
        self._place = (connection, tables)
        self._keys = keys
        self._witness = witness
        self._checkpoints = _checkpoints(connection, tables)
        self._purge = last_purge(connection, tables, keys)

    def rows(self, since: int, progress: Progress | None, processes: int | None) -> SealedRows:
        """Return the check of the rows, from a checkpoint on."""
        connection, tables = self._place
        self._verifier = Verifier(
            roots={point.size: point.root for point in self._checkpoints},
            start=_start(self._checkpoints, since),
            wanted=frozenset(self._witness.sizes if self._witness else ()),
            additions=key_additions(connection, tables, self._keys),
        )
        check = RowCheck(keys=self._keys, covered=self._verifier.covered, purge=self._purge)
        return SealedRows(
            connection=connection,
            tables=tables,
            rows=check,
            first=self._verifier.start.size,
            processes=processes,
            progress=progress,
        )

    def report(self, rows: SealedRows, public_keys: Sequence[PublicKey]) -> VerifyReport:
        """Check everything, and return the report."""
        with rows.pieces() as pieces:
            count = _count(*self._place)
            unsealed = check_unsealed(*self._place, rows.rows)
            duplicates = [*_duplicates(*self._place)]
            findings = [*_check_skipped(*self._place, rows.first), *self._verifier.check(pieces)]
        findings += [*rows.disclosures, *duplicates, *self._about_checkpoints(public_keys)]
        tree, witness = self._verifier.tree, self._witness
        return VerifyReport(
            rows=count,
            unsealed=unsealed.rows,
            tree_size=tree.size,
            root=tree.root.hex(),
            checkpoints=len(self._checkpoints),
            findings=[*findings, *unsealed.findings],
            since=rows.first,
            witnessed=len(witness.checkpoints) if witness else 0,
            purged=self._verifier.purged,
            purge=self._purge.resource() if self._purge else None,
        )

    def _about_checkpoints(self, public_keys: Sequence[PublicKey]) -> Iterator[Finding]:
        """Yield the findings about checkpoints: their notes, their copies and the cursors."""
        verifier, checkpoints, witness = self._verifier, self._checkpoints, self._witness
        if public_keys:
            yield from check_notes(checkpoints, public_keys)
        if witness is not None:
            yield from check_witness(witness, verifier, checkpoints)
        yield from _cursors_ahead(*self._place, verifier, checkpoints, witness)


def _count(connection: Connection, tables: AuditTables) -> int:
    return connection.execute(select(func.count()).select_from(tables.event)).scalar_one()


def _start(checkpoints: Sequence[StoredCheckpoint], since: int) -> Tree:
    """Return the tree of the last checkpoint of at most this size with a valid frontier."""
    usable = [point for point in checkpoints if 0 < point.size <= since]
    for point in reversed(usable):
        tree = Tree.load(point.size, point.frontier)
        if len(tree.frontier) == point.size.bit_count() and tree.root == point.root:
            return tree
    return Tree()


def _check_skipped(connection: Connection, tables: AuditTables, first: int) -> Iterator[Finding]:
    """Check that the leaves that are not read exist."""
    leaf = tables.leaf.c
    count = connection.execute(
        select(func.count()).select_from(tables.leaf).where(leaf.seq < first)
    ).scalar_one()
    if count != first:
        yield about_size(
            "gap", first, f"expected {first} leaves before sequence number {first}, found {count}"
        )


def _duplicates(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    """Yield duplicate event ids. An index prevents them, unless it is dropped or partitioned."""
    leaf = tables.leaf.c
    often = (  # an index-only scan, which rarely finds any
        select(leaf.event_id, func.count().label("rows"))
        .group_by(leaf.event_id)
        .having(func.count() > 1)
        .subquery()
        .c
    )
    numbers = (func.max(StoredNumber(leaf.seq)), func.max(StoredNumber(leaf.row_id)))
    statement = (
        select(*numbers, StoredText(leaf.event_id), often.rows)
        .where(leaf.event_id == often.event_id)
        .group_by(leaf.event_id, often.rows)
    )
    for seq, row_id, event_id, count in connection.execute(statement):
        yield Finding(
            kind="duplicate",
            seq=seq,
            row_id=row_id,
            event_id=event_id,
            detail=f"this event id is in {count} rows",
        )


def _cursors_ahead(
    connection: Connection,
    tables: AuditTables,
    verifier: Verifier,
    checkpoints: Sequence[StoredCheckpoint],
    witness: Witness | None,
) -> Iterator[Finding]:
    """Yield cursors beyond every row that is known to have been sealed.

    Missing rows that a checkpoint or the witness covers have a finding of their own.
    """
    known = {point.size for point in checkpoints} | (witness.sizes if witness else set())
    size = max({verifier.tree.size} | known)
    for sink, cursors in stored_cursors(connection, tables).items():
        ahead = max(cursors.sent, cursors.safe)
        if ahead >= size:
            detail = (
                f"the cursor of the sink {sink} is at {ahead}, but the trail has "
                f"{counted(size, 'sealed row')}: it was changed, or the newest rows were removed"
            )
            yield Finding(kind="delivery", seq=None, row_id=None, event_id=None, detail=detail)


def _checkpoints(connection: Connection, tables: AuditTables) -> list[StoredCheckpoint]:
    table = tables.checkpoint.c
    statement = select(
        StoredNumber(table.tree_size),
        stored_bytes(table.root_hash),
        StoredText(table.note),
        stored_bytes(table.frontier),
    )
    return [
        StoredCheckpoint(size=size, root=root, note=note, frontier=frontier)
        for size, root, note, frontier in connection.execute(statement.order_by(table.tree_size))
    ]
