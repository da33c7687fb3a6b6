"""Removal of purged rows on SQLite, where a trigger refuses all other rows."""

from __future__ import annotations

from sqlalchemy import Connection, Table, delete, func, select

from auditspan.storage.tables import AuditTables


def may_purge(_connection: Connection, _tables: AuditTables) -> bool:
    """Return True: SQLite has no roles."""
    return True


def lock_authorisation(_connection: Connection, _tables: AuditTables) -> None:
    """Do nothing: a transaction that writes is the only one."""


def count_waiting(connection: Connection, staging: Table) -> int:
    """Return the number of the changes."""
    return connection.scalars(select(func.count()).select_from(staging)).one()


def remove(connection: Connection, tables: AuditTables, size: int, first: int, last: int) -> int:
    """Remove the rows with their disclosures."""
    event, leaf, disclosure = tables.event, tables.leaf.c, tables.disclosure
    covered = (leaf.row_id >= first, leaf.row_id <= last, leaf.seq < size)
    of_events = disclosure.c.event_id.in_(select(leaf.event_id).where(*covered))
    connection.execute(delete(disclosure).where(of_events))
    covered_rows = select(leaf.row_id).where(*covered)
    return connection.execute(delete(event).where(event.c.id.in_(covered_rows))).rowcount


def drop_partitions(_connection: Connection, _tables: AuditTables) -> list[tuple[str, int]]:
    """Return nothing: there are no partitions."""
    return []
