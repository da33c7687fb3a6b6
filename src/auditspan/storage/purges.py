"""Authorised purges, and the rows that they removed.

A record of `trail.purge` counts only if everything that it states can be checked against other
tables: it is sealed behind the rows that it names, its leaf is the hash of its row, a checkpoint of
its size has its root and is older than its cut-off, and the cut-off is older than the record. With
MAC keys, one of them must have made its MAC and its proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from auditspan.errors import AuditBodyError
from auditspan.format import (
    PURGE,
    RETENTION_TARGET,
    Json,
    Keyring,
    MacKeys,
    PurgeStatement,
    is_attested,
    read_event,
    timestamp,
)
from auditspan.storage.column_forms import IsCounted, StoredText, UtcText, stored_bytes
from auditspan.storage.stored_event import StoredEvent, is_creation
from auditspan.storage.tables import AuditTables
from auditspan.tlog import Tree, hash_leaf

_CHUNK = 1000


@dataclass(frozen=True, kw_only=True)
class Purge:
    """Authorisation to remove the first rows of the sequence.

    Attributes:
        event_id: the id of its event.
        row_id: the id of its row.
        seq: the sequence number of its event.
        size: the number of leaves whose rows may be removed.
        root: the root of these leaves.
        before: the cut-off; all these rows are older.
        recorded_at: the time of the event.
        actor: the id or type of the actor who authorised it.
        reason: the recorded reason.
    """

    event_id: str
    row_id: int
    seq: int
    size: int
    root: bytes
    before: str
    recorded_at: str
    actor: str
    reason: str | None

    @property
    def sentence(self) -> str:
        """The removed range, its cut-off and its event, as the end of a sentence."""
        return (
            f"those before sequence number {self.size}, recorded before {self.before}, as event "
            f"{self.event_id} of {self.recorded_at} authorised"
        )

    def resource(self) -> dict[str, Json]:
        """Return the JSON form."""
        members = asdict(self) | {"root": self.root.hex()}
        del members["row_id"]
        return members


def read_purges(connection: Connection, tables: AuditTables, keys: MacKeys = None) -> list[Purge]:
    """Return the authorised purges, oldest first; without keys, MACs are not checked."""
    keyring = Keyring(keys)
    found = (_read(connection, tables, row, keyring) for row in retention_rows(connection, tables))
    return [one for one in found if one]


def last_purge(connection: Connection, tables: AuditTables, keys: MacKeys = None) -> Purge | None:
    """Return the authorised purge of the most rows, which covers the earlier ones."""
    found = read_purges(connection, tables, keys)
    return max(found, key=lambda one: one.size, default=None)


def purged_seq(connection: Connection, tables: AuditTables, event_id: str) -> int | None:
    """Return the sequence number of an event whose row was purged; None of any other."""
    found = connection.scalar(_without_row(tables).where(tables.leaf.c.event_id == event_id))
    purge = None if found is None else last_purge(connection, tables)
    return found if purge and found is not None and found < purge.size else None


def purge_of(connection: Connection, tables: AuditTables, event_id: str) -> Purge | None:
    """Return the purge that removed the row of a sealed event; None if the row was not purged."""
    is_purged = purged_seq(connection, tables, event_id) is not None
    return last_purge(connection, tables) if is_purged else None


def purge_at(connection: Connection, tables: AuditTables, seq: int) -> Purge | None:
    """Return the purge that removed the row with this sequence number; None if none did."""
    is_gone = connection.scalar(_without_row(tables).where(tables.leaf.c.seq == seq)) is not None
    purge = last_purge(connection, tables) if is_gone else None
    return purge if purge and seq < purge.size else None


def begun_purge(
    connection: Connection, tables: AuditTables, *, since: datetime | None = None
) -> Purge | None:
    """Return the purge of the most rows that has removed rows; one may be authorised and wait.

    None if it has removed only rows that were recorded before `since`.
    """
    found = sorted(read_purges(connection, tables), key=lambda one: one.size)
    starts = [0, *(one.size for one in found)]
    begun = [
        purge
        for purge, start in zip(found, starts, strict=False)
        if start < purge.size and _is_gone(connection, tables, start)
    ]
    if not begun or (since is not None and begun[-1].before <= timestamp(since)):
        return None
    return begun[-1]


def purge_before(
    connection: Connection, tables: AuditTables, first: StoredEvent | None
) -> Purge | None:
    """Return the purge that may have removed events of an object before its first one here.

    None if the first one creates the object, so that there were no earlier ones.
    """
    is_whole = first is not None and is_creation(first)
    return None if is_whole else begun_purge(connection, tables)


def purged_among(connection: Connection, tables: AuditTables, event_ids: Sequence[str]) -> set[str]:
    """Return which of these events are sealed, but have no row any more."""
    if not event_ids:
        return set()
    leaf = tables.leaf.c
    wanted = _without_row(tables).where(leaf.event_id.in_(event_ids))
    return set(connection.scalars(wanted.with_only_columns(StoredText(leaf.event_id))))


def purged_ids(connection: Connection, tables: AuditTables, purge: Purge) -> Iterator[str]:
    """Yield the ids of the events whose rows this purge removed."""
    leaf = tables.leaf.c
    missing = _without_row(tables).where(leaf.seq < purge.size)
    ids = missing.with_only_columns(StoredText(leaf.event_id)).execution_options(yield_per=_CHUNK)
    yield from connection.scalars(ids)


def purged_tree(connection: Connection, tables: AuditTables, purge: Purge) -> Tree:
    """Return the tree of the leaves that this purge covers, as its checkpoint has it."""
    point = tables.checkpoint.c
    frontier = select(stored_bytes(point.frontier)).where(point.tree_size == purge.size)
    return Tree.load(purge.size, connection.scalars(frontier).one())


def retention_rows(connection: Connection, tables: AuditTables) -> Sequence[Row[Any]]:
    """Return the rows of all records of retention with their leaves, oldest first."""
    event, leaf = tables.event, tables.leaf.c
    texts = (StoredText(event.c[name]) for name in ("body", "mac", "mac_key_id", "action"))
    statement = (
        select(
            event.c.id,
            StoredText(event.c.event_id).label("event_id"),
            UtcText(event.c.recorded_at).label("recorded_at"),
            *(text.label(name) for text, name in zip(texts, _TEXTS, strict=True)),
            leaf.seq,
            stored_bytes(leaf.leaf_hash).label("leaf_hash"),
        )
        .select_from(event.outerjoin(tables.leaf, leaf.row_id == event.c.id))
        .where(
            event.c.target_type == RETENTION_TARGET[0],  # by the index of targets
            event.c.target_id == RETENTION_TARGET[1],
        )
        .order_by(event.c.id)
    )
    return connection.execute(statement).all()


_TEXTS = ("body", "mac", "mac_key_id", "action")


def attested_members(row: Row[Any], keys: Keyring) -> dict[str, Any] | None:
    """Return the members of a record of retention; None if it fails the check with the keys."""
    try:
        members = read_event(row.body)
    except AuditBodyError:
        return None
    if keys:
        key = keys.get(row.mac_key_id or "")
        if key is None or not row.mac or not key.verifies(row.body, row.mac):
            return None
        if not is_attested(members["action"], members["metadata"], key):
            return None
    return members if members["action"] == row.action else None


def _read(
    connection: Connection, tables: AuditTables, row: Row[Any], keys: Keyring
) -> Purge | None:
    members = attested_members(row, keys) if row.action == PURGE else None
    statement = PurgeStatement.read(members["metadata"]) if members else None
    if members is None or statement is None or not _is_sealed(row):
        return None
    if not (statement.size <= row.seq and statement.before <= row.recorded_at):
        return None
    if not _has_checkpoint(connection, tables, statement):
        return None
    return Purge(
        event_id=row.event_id,
        row_id=row.id,
        seq=row.seq,
        size=statement.size,
        root=statement.root,
        before=statement.before,
        recorded_at=row.recorded_at,
        actor=members["actor"]["id"] or members["actor"]["type"],
        reason=members["reason"],
    )


def _is_sealed(row: Row[Any]) -> bool:
    return row.seq is not None and row.leaf_hash == hash_leaf(
        row_id=row.id, recorded_at=row.recorded_at, mac=row.mac, body=row.body
    )


def _has_checkpoint(connection: Connection, tables: AuditTables, statement: PurgeStatement) -> bool:
    point = tables.checkpoint.c
    found = connection.execute(
        select(stored_bytes(point.root_hash), UtcText(point.created_at)).where(
            IsCounted(point.tree_size), point.tree_size == statement.size
        )
    ).first()
    return found is not None and found[0] == statement.root and found[1] < statement.before


def _is_gone(connection: Connection, tables: AuditTables, seq: int) -> bool:
    missing = _without_row(tables).where(tables.leaf.c.seq == seq)
    return connection.scalar(missing) is not None


def _without_row(tables: AuditTables) -> Select[tuple[int]]:
    event, leaf = tables.event, tables.leaf
    joined = leaf.outerjoin(event, event.c.id == leaf.c.row_id)
    return select(leaf.c.seq).select_from(joined).where(event.c.id.is_(None), IsCounted(leaf.c.seq))
