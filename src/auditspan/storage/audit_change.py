"""Staging table, written by triggers and read by the drain within one transaction.

`audit_change` holds before- and after-images of rows. It is not append-only and not exported. It is
empty except for open transactions and for writes of other programs since the worker's last poll. It
has no index on PostgreSQL: with one, SERIALIZABLE transactions on different rows would fail.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Integer, MetaData, Table, Text

from auditspan.storage.column_types import DatabaseClock, TransactionId, TupleId, UtcDateTime

STAGING = "audit_change"


def staging_of(metadata: MetaData) -> Table | None:
    """Return the staging table of this metadata, or None."""
    key = f"{metadata.schema}.{STAGING}" if metadata.schema else STAGING
    return metadata.tables.get(key)


def audit_change_table(metadata: MetaData) -> Table:
    """Return the staging table of this metadata, and add it the first time.

    Columns:
        id: orders the changes of one transaction, and the changes of one row across transactions.
        xact_id, prev: the transaction, and the ctid of the previous staged row (PostgreSQL).
        changed_at: the database clock.
        table_schema, table_name: the audited table.
        operation: INSERT, UPDATE, DELETE or TRUNCATE.
        old, new: the row images, which `mapping.row_image` parses.
        role, application, client_address: the database session of the write (PostgreSQL).
        position: increases with every change and is not rolled back by a savepoint (SQLite; on
            PostgreSQL `id` has this property).
    """
    known = staging_of(metadata)
    if known is not None:
        return known
    return Table(
        STAGING,
        metadata,
        Column(
            "id",
            BigInteger().with_variant(Integer(), "sqlite"),
            Identity(always=True),
            primary_key=True,
        ),
        Column("xact_id", TransactionId()),
        Column("prev", TupleId()),
        Column("changed_at", UtcDateTime(), server_default=DatabaseClock(), nullable=False),
        Column("table_schema", Text()),
        Column("table_name", Text(), nullable=False),
        Column("operation", Text(), nullable=False),
        Column("old", Text()),
        Column("new", Text()),
        Column("role", Text()),
        Column("application", Text()),
        Column("client_address", Text()),
        Column("position", BigInteger()),
        sqlite_autoincrement=True,
    )
