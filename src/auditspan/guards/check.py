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
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Dialect, Row, Table, inspect, text

from auditspan.capture import busy
from auditspan.errors import UnprotectedTrailError
from auditspan.guards.indexes import weak_indexes
from auditspan.guards.interference import interference
from auditspan.guards.privileges import dangerous_roles
from auditspan.guards.server_roles import server_powers
from auditspan.guards.staging import check_staging, restore_staging
from auditspan.storage import (
    REFUSE_SOURCE,
    AuditTables,
    Trigger,
    create_trigger,
    creation,
    dialect_of,
    guard_partitions,
    partitions_of,
    removal,
    staging_of,
    triggers_of,
    weak_points,
)
from auditspan.storage.triggers import RECORDED

Kind = Literal["trigger", "foreign", "index", "role", "durability", "setting"]

_FULL = 2
_LOSSY_JOURNALS = frozenset({"off", "memory"})

_POSTGRESQL_TRIGGERS = text(
    """
    SELECT t.tgname AS name, t.tgenabled AS enabled, t.tgtype AS type, p.prosrc AS source,
           t.tgqual IS NULL AND CAST(t.tgattr AS text) = '' AS is_unconditional
      FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
     WHERE t.tgrelid = to_regclass(:table) AND (NOT t.tgisinternal OR t.tgparentid <> 0)
    """
)
_POSTGRESQL_TYPES = {"append_only": 1 + 2 + 8 + 16, "no_truncate": 2 + 32}
"""`tgtype` by the end of a trigger's name: row 1, before 2, delete 8, update 16, truncate 32."""

_SQLITE_TRIGGERS = (
    "SELECT name, sql FROM {schema}sqlite_master WHERE type = 'trigger' AND tbl_name = ? "
    "UNION ALL SELECT name, sql FROM sqlite_temp_master WHERE type = 'trigger' AND tbl_name = ?"
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem with the database.

    Attributes:
        kind: the subject: a trigger of ours, something foreign on an audit table, an index, the
            connected role, durability, or a setting.
        detail: the problem and its remedy, in sentences.
    """

    kind: Kind
    detail: str

    @property
    def breaks_a_promise(self) -> bool:
        """True if writes must not be served with this problem; otherwise it is a warning."""
        return self.kind != "setting"


def check_guards(connection: Connection, tables: AuditTables) -> list[Finding]:
    """Return every problem with this database and with the role of this connection.

    The check only reads. The connection MUST be set up like those that write: the role,
    `synchronous_commit` and SQLite's settings belong to a session.
    """
    with busy(connection):  # capture would refuse at the first missing trigger
        if connection.dialect.name == "postgresql":
            return [
                *_triggers(connection, tables),
                *_staging(connection, tables),
                *_roles(connection, tables),
                *(Finding(kind="role", detail=one) for one in server_powers(connection)),
                *_postgresql_durability(connection),
                *_indexes(connection, tables),
                *_partitions(connection, tables),
            ]
        return [
            *_triggers(connection, tables),
            *_staging(connection, tables),
            *_sqlite_durability(connection),
            *_indexes(connection, tables),
            *_sqlite_settings(connection),
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
                *guard_partitions(table, dialect),
            ):
                connection.execute(statement)
        if staging is not None:
            restore_staging(connection, staging)


def _staging(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    staging = staging_of(tables.event.metadata)
    if staging is not None:
        for found in check_staging(connection, staging, tables.event, tables.leaf):
            yield Finding(kind=found.kind, detail=found.detail)


def _triggers(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    for table in (*tables.append_only, tables.delivery):
        if not inspect(connection).has_table(
            table.name, schema=connection.schema_for_object(table)
        ):
            if table is not tables.delivery:
                detail = (
                    f"Table {table.name} does not exist, or this role cannot see it: migrate first."
                )
                yield Finding(kind="trigger", detail=detail)
            continue
        yield from _triggers_at(connection, table, table.name, _full(table, dialect_of(connection)))
        for partition in partitions_of(connection, table):
            yield from _triggers_at(connection, table, partition.name, partition.name)


def _triggers_at(
    connection: Connection, table: Table, place: str, full_name: str
) -> Iterator[Finding]:
    """Yield the problems with the triggers of a table, or of one of its partitions."""
    dialect = dialect_of(connection)
    state_of = _postgresql_state if dialect.name == "postgresql" else _sqlite_state
    found = _triggers_on(connection, table, full_name)
    required = triggers_of(table, dialect) if table.name != "audit_delivery" else []
    for trigger in required:
        row = found.pop(trigger.name, None)
        state = "is missing" if row is None else state_of(trigger, row, dialect)
        if state is not None:
            yield _weak(trigger, place, state)
    if full_name == _full(table, dialect):
        found.pop(RECORDED, None)  # `check_staging` compares it
    for what in (*(f"trigger {name}" for name in found), *interference(connection, full_name)):
        detail = (
            f"There is a {what} on {place} that is not auditspan's: it could keep rows out of the "
            "trail, change them or hide them. Drop it, and find out who created it."
        )
        yield Finding(kind="foreign", detail=detail)


def _triggers_on(connection: Connection, table: Table, full_name: str) -> dict[str, Row[Any]]:
    """Return every trigger of this table or partition, by its name."""
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_POSTGRESQL_TRIGGERS, {"table": full_name})
        return {row.name: row for row in rows}
    schema = f"{table.schema}." if table.schema else ""
    both = (table.name, table.name)
    found = connection.exec_driver_sql(_SQLITE_TRIGGERS.format(schema=schema), both)
    return {row.name: row for row in found}


def _weak(trigger: Trigger, place: str, state: str) -> Finding:
    detail = (
        f"The trigger {trigger.name} on {place} {state}: rows of that table can be changed or "
        "removed. Restore it as docs/how-to/guard-the-tables.md describes, find out who changed "
        "it, and run `auditspan verify`."
    )
    return Finding(kind="trigger", detail=detail)


def _postgresql_state(trigger: Trigger, row: Row[Any], _dialect: Dialect) -> str | None:
    """Return the problem with a trigger, as a predicate; None if there is none."""
    wanted = _POSTGRESQL_TYPES[trigger.name.removeprefix(f"{trigger.table.name}_")]
    if row.type != wanted or not row.is_unconditional or row.source != REFUSE_SOURCE:
        return "differs from that of this release"
    if row.enabled == "A":
        return None
    return "is disabled" if row.enabled == "D" else "is not ENABLE ALWAYS, so it can be bypassed"


def _sqlite_state(trigger: Trigger, row: Row[Any], dialect: Dialect) -> str | None:
    is_ours = row.sql == create_trigger(trigger, dialect)
    return None if is_ours else "differs from that of this release"


def _roles(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    names = [_full(table, dialect_of(connection)) for table in tables.append_only]
    names += [one.name for one in partitions_of(connection, tables.event)]
    for detail in dangerous_roles(connection, names):
        yield Finding(kind="role", detail=detail)


def _postgresql_durability(connection: Connection) -> Iterator[Finding]:
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off":
            detail = (
                f"{name} is off: data that was committed and announced can be lost in a crash of "
                f"the machine. Turn {name} on for this server, role and database."
            )
            yield Finding(kind="durability", detail=detail)


def _partitions(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    for sentence in weak_points(connection, tables.event):
        yield Finding(kind="setting", detail=sentence)


def _indexes(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    for table in (*tables.append_only, tables.delivery):
        if inspect(connection).has_table(table.name, schema=connection.schema_for_object(table)):
            for weak in weak_indexes(connection, tables.event, table):
                kind: Kind = "index" if weak.breaks_a_promise else "setting"
                yield Finding(kind=kind, detail=weak.detail)


def _sqlite_durability(connection: Connection) -> Iterator[Finding]:
    synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    lost = "data that was committed and announced can be lost in a power failure"
    if synchronous < _FULL:
        detail = f"PRAGMA synchronous is below FULL: {lost}. Set it to FULL on every connection."
        yield Finding(kind="durability", detail=detail)
    if journal in _LOSSY_JOURNALS:
        detail = f"PRAGMA journal_mode is {journal}: {lost}. Use a file, and set it to WAL."
        yield Finding(kind="durability", detail=detail)


def _sqlite_settings(connection: Connection) -> Iterator[Finding]:
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if journal != "wal" and journal not in _LOSSY_JOURNALS:
        detail = (
            f"PRAGMA journal_mode is {journal}: readers and writers block each other. Set it to "
            "WAL."
        )
        yield Finding(kind="setting", detail=detail)
    if not connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one():
        detail = (
            "PRAGMA foreign_keys is off: the application's foreign keys are not checked. Set it "
            "to ON on every connection."
        )
        yield Finding(kind="setting", detail=detail)


def _full(table: Table, dialect: Dialect) -> str:
    return dialect.identifier_preparer.format_table(table)
