"""The staging table: what triggers write and the drain takes, within one transaction.

`audit_change` holds before- and after-images of rows. It is not append-only and not exported, and
empty but for open transactions and for what other programs have written since the worker last
looked. It has no index on PostgreSQL: under SERIALIZABLE one fails transactions on different rows.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Integer, MetaData, Table, Text

from auditspan.storage.column_types import DatabaseClock, TransactionId, TupleId, UtcDateTime

STAGING = "audit_change"


def staging_of(metadata: MetaData) -> Table | None:
    """The staging table of this metadata, where it has one."""
    key = f"{metadata.schema}.{STAGING}" if metadata.schema else STAGING
    return metadata.tables.get(key)


def audit_change_table(metadata: MetaData) -> Table:
    """The staging table of this metadata; it is added the first time.

    Columns:
        id: the order of the changes of one transaction, and across transactions of one row.
        xact_id, prev: the transaction, and the place of the row staged before it (PostgreSQL).
        changed_at: the database clock.
        table_schema, table_name: the audited table.
        operation: INSERT, UPDATE, DELETE or TRUNCATE.
        old, new: the images of the row, as `mapping.row_image` reads them.
        role, application, client_address: the session that wrote (PostgreSQL).
        position: grows with every change and is not rolled back by a savepoint (SQLite; on
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
