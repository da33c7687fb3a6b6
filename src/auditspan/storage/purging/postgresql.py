"""Removal of purged rows on PostgreSQL, by functions of the owner."""

from __future__ import annotations

from sqlalchemy import Connection, Table, text

from auditspan.storage.append_only.postgresql_purge import DROP_PARTITIONS, REMOVE, WAITING
from auditspan.storage.append_only.trigger import schema_prefix
from auditspan.storage.schemas import dialect_of
from auditspan.storage.tables import AuditTables


def may_purge(connection: Connection, tables: AuditTables) -> bool:
    """Return whether this role may execute the function that removes rows."""
    name = f"{_schema(connection, tables)}{REMOVE}(bigint, bigint)"
    asked = text("SELECT has_function_privilege(to_regprocedure(:name), 'EXECUTE')")
    return bool(connection.scalar(asked, {"name": name}))


def lock_authorisation(connection: Connection, tables: AuditTables) -> None:
    """Take an advisory lock of this trail until the transaction ends."""
    name = f"{_schema(connection, tables)}auditspan_authorisation"
    call = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:name AS text), 0))")
    connection.execute(call, {"name": name})


def count_waiting(connection: Connection, staging: Table) -> int:
    """Return the number of the changes, which a role that records cannot read."""
    call = text(f"SELECT {schema_prefix(staging, dialect_of(connection))}{WAITING}()")
    return int(connection.execute(call).scalar_one())


def remove(connection: Connection, tables: AuditTables, _size: int, first: int, last: int) -> int:
    """Remove the rows; the function reads the number of leaves itself."""
    call = text(f"SELECT {_schema(connection, tables)}{REMOVE}(:first, :last)")
    return int(connection.execute(call, {"first": first, "last": last}).scalar_one())


def drop_partitions(connection: Connection, tables: AuditTables) -> list[tuple[str, int]]:
    """Drop partitions of past months; none while the table is in use for too long."""
    call = text(
        f"SELECT partition, removed FROM {_schema(connection, tables)}{DROP_PARTITIONS}()"  # noqa: S608 (our own schema)
    )
    return [(row.partition, row.removed) for row in connection.execute(call)]


def _schema(connection: Connection, tables: AuditTables) -> str:
    return schema_prefix(tables.event, dialect_of(connection))
