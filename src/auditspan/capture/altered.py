"""Tables that a statement alters, whose triggers are dropped before it and created again after.

In a migration, triggers are created for the columns that a table has at that moment.
"""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Table, inspect

from auditspan.capture.ddl import schema_change
from auditspan.capture.drain import drain_now
from auditspan.capture.migration import is_migrated
from auditspan.capture.open_transaction import busy, open_transaction
from auditspan.capture.registry import captures_of
from auditspan.capture.triggers import create_triggers, staged_tables
from auditspan.storage import STAGING
from auditspan.storage.triggers import (
    TRIGGERS,
    StagedTable,
    fitted,
    live_table,
    removal_statements,
    triggered_tables,
)

_pinned: WeakKeyDictionary[Connection, dict[str, frozenset[str] | None]] = WeakKeyDictionary()
"""The excluded columns of tables, as set by operations of a migration; None: no triggers."""


def pin(connection: Connection, table: Table, excluded: frozenset[str] | None) -> None:
    """Note the excluded columns that an operation of a migration has set for a table's triggers."""
    _pinned.setdefault(connection, {})[table.key] = excluded
    open_transaction(connection).touched.discard(table.name.lower())


def before_schema_change(connection: Connection, statement: str) -> None:
    """Drop triggers that are in the way of a statement, and note the tables to restore them for.

    SQLite cannot drop or rename a table or column that a trigger names. On PostgreSQL, triggers
    stay, and only a migration creates them again: an application has no privilege to.
    """
    change, of = schema_change(statement), TRIGGERS.find(connection)
    transaction = open_transaction(connection)
    transaction.is_migrated = None  # it may have begun since
    is_migration = is_migrated(connection, transaction)
    if change is None or of is None or (of.SURVIVES_ALTER and not is_migration):
        return
    transaction.touched |= change.tables
    if change.verb == "DROP" and change.tables & {STAGING, "audit_event"}:
        drain_first(connection)
    if not of.SURVIVES_ALTER and change.verb in {"ALTER", "DROP"}:
        with busy(connection):
            _remove(connection, change.tables)
    transaction.can_record.clear()


def drain_first(connection: Connection) -> None:
    """Record what the transaction has staged so far, while that is still possible."""
    drain_now(connection)
    open_transaction(connection).can_record.clear()


def _remove(connection: Connection, tables: frozenset[str]) -> None:
    names = set(tables)
    if STAGING in tables:
        names |= {table.name for table in triggered_tables(connection)}
    open_transaction(connection).touched |= {name.lower() for name in names}
    for name in names:
        for sql in removal_statements(name, None, connection.dialect, connection):
            connection.exec_driver_sql(sql)


def restore_touched(connection: Connection) -> None:
    """Create triggers again that a statement has dropped, or that no longer fit their table."""
    transaction = open_transaction(connection)
    if transaction.touched:
        with busy(connection):
            for capture in captures_of(connection):
                _restore_all(connection, capture.staging, transaction.touched)
        transaction.touched.clear()


def _restore_all(connection: Connection, staging: Table, touched: set[str]) -> None:
    if not inspect(connection).has_table(staging.name, schema=staging.schema):
        return
    if staging.name in touched:
        for sql in TRIGGERS.of(connection).staging_statements(staging, connection.dialect):
            connection.exec_driver_sql(sql)
    for staged in staged_tables(staging.metadata):
        if touched & {staged.table.name.lower(), staging.name}:
            _restore(connection, staged)


def _restore(connection: Connection, staged: StagedTable) -> None:
    table = staged.table
    pinned = _pinned.get(connection, {})
    excluded = pinned.get(table.key, staged.excluded)
    if excluded is None or not inspect(connection).has_table(table.name, schema=table.schema):
        return
    for sql in removal_statements(table.name, table.schema, connection.dialect, connection):
        connection.exec_driver_sql(sql)
    if table.key in pinned:
        staged = replace(staged, table=live_table(connection, table), excluded=excluded)
    create_triggers(connection, fitted(connection, staged))
