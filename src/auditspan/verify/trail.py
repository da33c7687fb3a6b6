"""`verify_trail`: verification of the trail in a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from auditspan.delivery import stored_cursors
from auditspan.format import Json, Keyring, MacKeys, SealedLeaf, counted
from auditspan.storage import (
    AuditTables,
    StoredNumber,
    StoredText,
    key_additions,
    last_purge,
    lift_time_limits,
    newest_size,
    sealed_leaves,
    stored_bytes,
)
from auditspan.tlog import PublicKey, Tree
from auditspan.verify.disclosures import DisclosureCheck
from auditspan.verify.steps import Finding, StoredCheckpoint, Verifier, about_size, check_notes
from auditspan.verify.unsealed_rows import check_unsealed
from auditspan.verify.witness import Witness, check_witness

_STEP = 1000
"""Leaves between two reports of the progress."""

Progress = Callable[[int, int], None]
"""Receives the number of leaves checked since the last call, and the number of all leaves."""


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


def verify_trail(  # noqa: PLR0913 (sources to compare with, each with a default)
    connection: Connection,
    tables: AuditTables,
    key: MacKeys,
    public_keys: Sequence[PublicKey] = (),
    *,
    witness: Witness | None = None,
    since: int = 0,
    progress: Progress | None = None,
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
    """
    lift_time_limits(connection)
    checkpoints = _checkpoints(connection, tables)
    keys = Keyring(key)
    verifier = Verifier(
        roots={point.size: point.root for point in checkpoints},
        keys=keys,
        start=_start(checkpoints, since),
        wanted=frozenset(witness.sizes if witness else ()),
        additions=key_additions(connection, tables, keys),
        purge=last_purge(connection, tables, keys),
    )
    first = verifier.start.size
    disclosures = DisclosureCheck(connection=connection, tables=tables)
    leaves = disclosures.of(_leaves(connection, tables, first, progress))
    findings = [*_check_skipped(connection, tables, first), *verifier.check(leaves)]
    findings += disclosures.findings
    findings += _duplicates(connection, tables)
    if public_keys:
        findings += check_notes(checkpoints, public_keys)
    if witness is not None:
        findings += check_witness(witness, verifier, checkpoints)
    findings += _cursors_ahead(connection, tables, verifier, checkpoints, witness)
    unsealed = check_unsealed(connection, tables, verifier)
    return VerifyReport(
        rows=_count(connection, tables),
        unsealed=unsealed.rows,
        tree_size=verifier.tree.size,
        root=verifier.tree.root.hex(),
        checkpoints=len(checkpoints),
        findings=[*findings, *unsealed.findings],
        since=first,
        witnessed=len(witness.checkpoints) if witness else 0,
        purged=verifier.purged,
        purge=verifier.purge.resource() if verifier.purge else None,
    )


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


def _leaves(
    connection: Connection, tables: AuditTables, first: int, progress: Progress | None
) -> Iterator[SealedLeaf]:
    leaves = sealed_leaves(connection, tables, first)
    if progress is None:
        return leaves
    return _with_progress(leaves, newest_size(connection, tables) - first, progress)


def _with_progress(
    leaves: Iterator[SealedLeaf], total: int, progress: Progress
) -> Iterator[SealedLeaf]:
    done = 0
    for done, leaf in enumerate(leaves, start=1):
        yield leaf
        if done % _STEP == 0:
            progress(_STEP, total)
    progress(done % _STEP, total)


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
