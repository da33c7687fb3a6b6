"""Capture during Alembic migrations: triggers follow schema changes, and writes are counted.

A migration works on the tables as they were, and the models describe them as they will be. So
triggers are created for the columns that a table has at that moment, and the writes of a revision
are recorded as one `migration.statement` for each table and operation. Before the audit tables
exist, nothing is recorded and nothing is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, MetaData, Table, inspect

from auditspan.capture.ddl import schema_change
from auditspan.capture.dialects import CAPTURE_DIALECTS
from auditspan.capture.open_transaction import busy, open_transaction
from auditspan.capture.recorder import Surroundings
from auditspan.format import Actor
from auditspan.storage import STAGING, staging_of
from auditspan.storage.triggers import (
    TRIGGERS,
    StagedTable,
    fitted,
    live_table,
    removal_statements,
    triggered_tables,
)

ACTION = "migration.statement"
"""The action that is recorded for writes of a migration."""

ACTOR = Actor.system("alembic")
"""The actor of a migration that sets none itself."""

StagedTables = Callable[[MetaData], Iterable[StagedTable]]
CreateTriggers = Callable[[Connection, StagedTable], None]

drains: list[Callable[[Connection], None]] = []
"""Functions that record the changes of the running transaction before their table is dropped."""

_by_row: ContextVar[bool] = ContextVar("auditspan_migrated_rows", default=False)
_pinned: WeakKeyDictionary[Connection, dict[str, frozenset[str] | None]] = WeakKeyDictionary()
"""The excluded columns of tables, as set by operations of a migration; None: no triggers."""


@contextmanager
def record_rows() -> Iterator[None]:
    """Record the writes of a migration inside the block row by row, and not as counts.

    Only values of columns that the models have are recorded.
    """
    token = _by_row.set(True)
    try:
        yield
    finally:
        _by_row.reset(token)


def is_counted() -> bool:
    """Return whether writes of a migration are only counted now."""
    return not _by_row.get()


def migrated_metadata(connection: Connection) -> tuple[MetaData, ...] | None:
    """Return the target metadata of the migration on this connection; None if none runs."""
    alembic: Any = sys.modules.get("alembic.context")
    if alembic is None:
        return None
    with suppress(Exception):  # outside an environment, or before its `configure`
        context = alembic.get_context()
        return target_metadata(context.opts) if context.bind is connection else None
    return None


def is_migrated(connection: Connection, *, anew: bool = False) -> bool:
    """Return whether Alembic migrates on this connection; cached for the transaction.

    The check costs 20 microseconds, and most programs that import Alembic do not migrate.

    Args:
        connection: the connection.
        anew: check again.
    """
    transaction = open_transaction(connection)
    if transaction.is_migrated is None or anew:
        transaction.is_migrated = migrated_metadata(connection) is not None
    return transaction.is_migrated


def target_metadata(options: Mapping[str, Any]) -> tuple[MetaData, ...]:
    """Return the target metadata, one or several, from the options of Alembic's context."""
    given = options.get("target_metadata") or ()
    return (given,) if isinstance(given, MetaData) else tuple(given)


def acting(surroundings: Surroundings) -> Surroundings:
    """Return the surroundings of a write in a migration, with an actor."""
    return surroundings if surroundings.actor else surroundings._replace(actor=ACTOR)


def pin(connection: Connection, table: Table, excluded: frozenset[str] | None) -> None:
    """Note the excluded columns that an operation of a migration has set for a table's triggers."""
    _pinned.setdefault(connection, {})[table.key] = excluded
    open_transaction(connection).touched.discard(table.name.lower())


def can_record(connection: Connection, event: Table) -> bool:
    """Return whether the audit tables exist, in the middle of a migration."""
    known = open_transaction(connection).can_record
    if event.schema not in known:
        looking = inspect(connection)
        is_there = event.schema is None or event.schema in looking.get_schema_names()
        names = looking.get_table_names(schema=event.schema) if is_there else ()
        has_tables = {event.name, STAGING} <= set(names)
        has_drain = CAPTURE_DIALECTS.of(connection).has_drain
        known[event.schema] = has_tables and has_drain(connection, event.schema)
    return known[event.schema]


def before_schema_change(connection: Connection, statement: str) -> None:
    """Drop triggers that are in the way of a statement, and note the tables to restore them for.

    SQLite cannot drop or rename a table or column that a trigger names. On PostgreSQL, triggers
    stay, and only a migration creates them again: an application has no privilege to.
    """
    change, of = schema_change(statement), TRIGGERS.find(connection)
    is_migration = is_migrated(connection, anew=True)
    if change is None or of is None or (of.SURVIVES_ALTER and not is_migration):
        return
    transaction = open_transaction(connection)
    transaction.touched |= change.tables
    if change.verb == "DROP" and change.tables & {STAGING, "audit_event"}:
        drain_first(connection)
    if not of.SURVIVES_ALTER and change.verb in {"ALTER", "DROP"}:
        with busy(connection):
            _remove(connection, change.tables)
    transaction.can_record.clear()


def drain_first(connection: Connection) -> None:
    """Record what the transaction has staged so far, while that is still possible."""
    for drain in drains:
        drain(connection)
    open_transaction(connection).can_record.clear()


def _remove(connection: Connection, tables: frozenset[str]) -> None:
    names = set(tables)
    if STAGING in tables:
        names |= {table.name for table in triggered_tables(connection)}
    open_transaction(connection).touched |= {name.lower() for name in names}
    for name in names:
        for sql in removal_statements(name, None, connection.dialect, connection):
            connection.exec_driver_sql(sql)


def restore_triggers(
    connection: Connection, metadata: MetaData, staged_in: StagedTables, create: CreateTriggers
) -> None:
    """Create the triggers of changed tables again, for their current columns."""
    touched = open_transaction(connection).touched
    staging = staging_of(metadata)
    if not touched or staging is None:
        return
    with busy(connection):
        if inspect(connection).has_table(staging.name, schema=staging.schema):
            if staging.name in touched:
                _restore_staging(connection, staging)
            for staged in staged_in(metadata):
                if touched & {staged.table.name.lower(), staging.name}:
                    _restore(connection, staged, create)


def _restore(connection: Connection, staged: StagedTable, create: CreateTriggers) -> None:
    table = staged.table
    pinned = _pinned.get(connection, {})
    excluded = pinned.get(table.key, staged.excluded)
    if excluded is None or not inspect(connection).has_table(table.name, schema=table.schema):
        return
    for sql in removal_statements(table.name, table.schema, connection.dialect, connection):
        connection.exec_driver_sql(sql)
    if table.key in pinned:
        staged = replace(staged, table=live_table(connection, table), excluded=excluded)
    create(connection, fitted(connection, staged))


def _restore_staging(connection: Connection, staging: Table) -> None:
    """Create the functions and triggers of a new staging table."""
    for sql in TRIGGERS.of(connection).staging_statements(staging, connection.dialect):
        connection.exec_driver_sql(sql)
