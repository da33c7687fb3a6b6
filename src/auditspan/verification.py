"""`verify_trail`: is the trail in this database as it was written?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from auditspan.canonical import timestamp
from auditspan.mac import MacKey
from auditspan.note import PublicKey
from auditspan.tables import AuditTables
from auditspan.verify import (
    Finding,
    SealedLeaf,
    StoredCheckpoint,
    Verifier,
    check_notes,
    derived_columns,
)

_CHUNK = 2000


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What `verify_trail` found. Nothing to check is not success: an empty trail is not `ok`."""

    rows: int
    unsealed: int
    tree_size: int
    root: str
    checkpoints: int
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether there was something to check, and all of it is as it was written."""
        return self.tree_size > 0 and not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The fixed JSON form."""
        return {"ok": self.ok, **asdict(self)}


def verify_trail(
    connection: Connection,
    tables: AuditTables,
    key: MacKey | None,
    public_keys: Sequence[PublicKey] = (),
) -> VerifyReport:
    """Check every sealed row, in constant memory; rows not sealed yet are counted.

    The connection MUST see one snapshot throughout (REPEATABLE READ on PostgreSQL), or rows that
    are sealed meanwhile look like findings. Without public keys the notes are not checked.
    """
    checkpoints = _checkpoints(connection, tables)
    verifier = Verifier(roots={point.size: point.root for point in checkpoints}, key=key)
    findings = list(verifier.check(_leaves(connection, tables)))
    if public_keys:
        findings += check_notes(checkpoints, public_keys)
    rows = connection.execute(select(func.count()).select_from(tables.event)).scalar_one()
    return VerifyReport(
        rows=rows,
        unsealed=_unsealed(connection, tables),
        tree_size=verifier.tree.size,
        root=verifier.tree.root.hex(),
        checkpoints=len(checkpoints),
        findings=findings,
    )


def _checkpoints(connection: Connection, tables: AuditTables) -> list[StoredCheckpoint]:
    table = tables.checkpoint.c
    statement = select(table.tree_size, table.root_hash, table.note).order_by(table.tree_size)
    return [
        StoredCheckpoint(size=row.tree_size, root=row.root_hash, note=row.note)
        for row in connection.execute(statement)
    ]


def _leaves(connection: Connection, tables: AuditTables) -> Iterator[SealedLeaf]:
    event, leaf = tables.event, tables.leaf
    statement = (
        select(
            leaf.c.seq,
            leaf.c.row_id,
            leaf.c.event_id.label("leaf_event_id"),
            leaf.c.leaf_hash,
            *(event.c[name] for name in ("recorded_at", "body", "mac", "mac_key_id")),
            *(event.c[name] for name in derived_columns({})),
        )
        .select_from(leaf.outerjoin(event, event.c.id == leaf.c.row_id))
        .order_by(leaf.c.seq)
        .execution_options(yield_per=_CHUNK)
    )
    for row in connection.execute(statement):
        yield _sealed_leaf(row)


def _sealed_leaf(row: Row[Any]) -> SealedLeaf:
    columns = {name: getattr(row, name) for name in derived_columns({})}
    columns["occurred_at"] = row.occurred_at and timestamp(row.occurred_at)
    return SealedLeaf(
        seq=row.seq,
        row_id=row.row_id,
        event_id=row.leaf_event_id,
        leaf_hash=row.leaf_hash,
        recorded_at=row.recorded_at and timestamp(row.recorded_at),
        body=row.body,
        mac=row.mac,
        mac_key_id=row.mac_key_id,
        columns=columns,
    )


def _unsealed(connection: Connection, tables: AuditTables) -> int:
    event, leaf = tables.event, tables.leaf
    statement = (
        select(func.count())
        .select_from(event.outerjoin(leaf, leaf.c.row_id == event.c.id))
        .where(leaf.c.seq.is_(None))
    )
    return int(connection.execute(statement).scalar_one())
