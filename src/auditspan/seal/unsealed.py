"""Committed rows without a leaf, and the last checkpoint.

A client with write access can insert a row that `fresh_rows` never finds, with an old id or
transaction id; `missed_rows` searches the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, select

from auditspan.storage import AuditTables, IsCounted, StoredText
from auditspan.tlog import Tree, incarnation_of


class UnsealedRow(NamedTuple):
    """A committed row without a leaf, as stored; the timestamp has the format of a leaf."""

    id: int
    event_id: str
    recorded_at: str
    body: str
    mac: str | None
    mac_key_id: str | None


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """A backlog of more rows than one pass takes, sealed in the order of their ids.

    It is remembered by its sealer, and not in the database: another sealer starts at the
    checkpoint's snapshot again, and finds the leaves.

    Attributes:
        seen: the snapshot of the first pass; at the end, everything in it is sealed.
        floor: rows up to this id have been read since then.
    """

    seen: str
    floor: int


@dataclass(frozen=True, kw_only=True)
class Position:
    """The tree of the last checkpoint, and the starting point of the search for further rows.

    Attributes:
        incarnation: the incarnation of the next checkpoint, according to the tables.
        restored: whether the tables show that an older backup was restored, so that the
            incarnation is a new one.
    """

    tree: Tree
    snapshot: str | None = None
    incarnation: int = 1
    restored: bool = False
    backlog: Backlog | None = None


def last_position(connection: Connection, tables: AuditTables) -> Position:
    """Return the position of the last checkpoint; an empty one if there is none."""
    table = tables.checkpoint.c
    row = connection.execute(
        select(
            table.tree_size, table.frontier, table.snapshot, StoredText(table.note).label("note")
        )
        .where(IsCounted(table.tree_size))
        .order_by(table.tree_size.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return Position(tree=Tree())
    return Position(
        tree=Tree.load(row.tree_size, row.frontier),
        snapshot=row.snapshot,
        incarnation=incarnation_of(row.note),
    )


class UnsealedRows(Protocol):
    """The unsealed rows of one database."""

    def fresh_rows(
        self, connection: Connection, tables: AuditTables, position: Position, limit: int, /
    ) -> tuple[Sequence[UnsealedRow], Position]:
        """Return the next rows in id order, and the position for the checkpoint over them."""

    def missed_rows(
        self, connection: Connection, tables: AuditTables, position: Position, limit: int, /
    ) -> Sequence[UnsealedRow]:
        """Return committed rows that `fresh_rows` never returns."""

    def count_unsealed(
        self, connection: Connection, tables: AuditTables, most: int, /
    ) -> tuple[int, int | None]:
        """Count the unsealed rows from indexes, up to about `most`; return the lowest id too."""

    def insert_leaves(
        self,
        connection: Connection,
        tables: AuditTables,
        first: int,
        rows: Sequence[UnsealedRow],
        leaves: Sequence[bytes],
        /,
    ) -> None:
        """Insert leaves for these rows, with sequence numbers from `first` on."""
