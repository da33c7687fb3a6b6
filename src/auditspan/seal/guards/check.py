"""Checks that a live database protects the trail: triggers, privileges, durability.

    1. the triggers of every append-only table exist, are enabled, and match this release
    2. PostgreSQL: the connected role cannot change the trail, nor become a role that can
    3. committed data survives a crash of the machine
    4. no foreign rule, row security or trigger on an audit table could drop or hide rows
    5. the audit tables have their unique indexes, and no foreign ones
    6. warnings: missing partitions, and recommended settings of SQLite

A partition is checked like the table that it belongs to.

A violation of 1 to 5 breaks a promise: a process that serves writes MUST NOT start. The checks run
when a process starts; `verify` finds later changes to the triggers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import Connection, Dialect, Table, inspect

from auditspan.capture import busy
from auditspan.errors import UnprotectedTrailError
from auditspan.seal.guards.dialects import GUARDS
from auditspan.seal.guards.finding import Finding, Kind
from auditspan.seal.guards.indexes import weak_indexes
from auditspan.seal.guards.staging import check_staging, restore_staging
from auditspan.storage import (
    ERASURE_FUNCTION,
    PARTITIONS,
    SEARCH_TERMS,
    AuditTables,
    Trigger,
    creation,
    dialect_of,
    removal,
    staging_of,
    triggers_of,
)
from auditspan.storage.triggers import RECORDED

_OF_RELAYS = "audit_delivery"
"""How the names of the tables begin that are not append-only."""


def check_guards(connection: Connection, tables: AuditTables) -> list[Finding]:
    """Return every problem with this database and with the role of this connection.

    The check only reads. The connection MUST be set up like those that write: the role,
    `synchronous_commit` and SQLite's settings belong to a session.
    """
    with busy(connection):  # capture would refuse at the first missing trigger
        return [
            *_triggers(connection, tables),
            *check_staging(connection, tables),
            *GUARDS.of(connection).server_findings(connection, tables),
            *_indexes(connection, tables),
        ]


def require_guards(
    connection: Connection, tables: AuditTables, *, tolerated: Collection[Kind] = ()
) -> list[Finding]:
    """Refuse a database that would break a promise.

    Args:
        connection: a connection set up like those that write.
        tables: the audit tables.
        tolerated: kinds of problems that are tolerated.

    Returns:
        The tolerated problems and the warnings.

    Raises:
        UnprotectedTrailError: a problem breaks a promise; the message names all of them.
    """
    findings = check_guards(connection, tables)
    refused = [f for f in findings if f.breaks_a_promise and f.kind not in tolerated]
    if refused:
        raise UnprotectedTrailError(" ".join(finding.detail for finding in refused))
    return findings


def restore_guards(connection: Connection, tables: AuditTables) -> None:
    """Replace existing triggers with those of this release; only the owner of the tables can."""
    dialect, staging = dialect_of(connection), staging_of(tables.event.metadata)
    with busy(connection):
        for table in tables.append_only:
            for statement in (
                *removal(table, dialect),
                *creation(table, dialect),
                *PARTITIONS.of(dialect).guard_partitions(table, dialect),
            ):
                connection.execute(statement)
        for statement in (
            *SEARCH_TERMS.creation(tables.event, dialect),
            *ERASURE_FUNCTION.creation(tables.subject_key, dialect),
        ):
            connection.execute(statement)
        if staging is not None:
            restore_staging(connection, staging)


def _triggers(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    for table in (*tables.append_only, *tables.of_relays):
        if not inspect(connection).has_table(
            table.name, schema=connection.schema_for_object(table)
        ):
            if table not in tables.of_relays:
                detail = (
                    f"Table {table.name} does not exist, or this role cannot see it: migrate first."
                )
                yield Finding(kind="trigger", detail=detail)
            continue
        yield from _triggers_at(connection, table, table.name, _full(table, dialect_of(connection)))
        for partition in PARTITIONS.of(connection).partitions_of(connection, table):
            yield from _triggers_at(connection, table, partition.name, partition.name)


def _triggers_at(
    connection: Connection, table: Table, place: str, full_name: str
) -> Iterator[Finding]:
    """Yield the problems with the triggers of a table, or of one of its partitions."""
    dialect = dialect_of(connection)
    of = GUARDS.of(dialect)
    found = of.triggers_on(connection, table, full_name)
    required = [] if table.name.startswith(_OF_RELAYS) else triggers_of(table, dialect)
    for trigger in required:
        row = found.pop(trigger.name, None)
        state = "is missing" if row is None else of.trigger_state(trigger, row, dialect)
        if state is not None:
            yield _weak(trigger, place, state)
    if full_name == _full(table, dialect):
        found.pop(RECORDED, None)  # `check_staging` compares it
    for what in (*(f"trigger {name}" for name in found), *of.interference(connection, full_name)):
        detail = (
            f"There is a {what} on {place} that is not auditspan's: it could keep rows out of the "
            "trail, change them or hide them. Drop it, and find out who created it."
        )
        yield Finding(kind="foreign", detail=detail)


def _weak(trigger: Trigger, place: str, state: str) -> Finding:
    detail = (
        f"The trigger {trigger.name} on {place} {state}: rows of that table can be changed or "
        "removed. Restore it as docs/how-to/guard-the-tables.md describes, find out who changed "
        "it, and run `auditspan verify`."
    )
    return Finding(kind="trigger", detail=detail)


def _indexes(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    for table in (*tables.append_only, *tables.of_relays):
        if inspect(connection).has_table(table.name, schema=connection.schema_for_object(table)):
            for weak in weak_indexes(connection, tables.event, table):
                kind: Kind = "index" if weak.breaks_a_promise else "setting"
                yield Finding(kind=kind, detail=weak.detail)


def _full(table: Table, dialect: Dialect) -> str:
    return dialect.identifier_preparer.format_table(table)
