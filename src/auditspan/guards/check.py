"""What a database does for the trail, looked at while it lives: triggers, rights, durability.

    1. the triggers of every append-only table are there, enabled, as this release makes them
    2. PostgreSQL: the role that is connected cannot change the trail, nor become one that can
    3. what is committed stays committed when the machine fails
    4. no rule, row security or trigger of others on an audit table, which could drop or hide rows
    5. the unique indexes of the audit tables are there, and no others on them
    6. partitions that are missing, and settings of SQLite that help: warnings

A partition is looked at as the table that it is a part of.

Each of 1 to 5 breaks a promise: who serves writes MUST NOT start. They are looked at when a process
starts; what somebody does to the triggers after that is for `verify` to find.
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
    """Something that is not as it must be.

    Attributes:
        kind: what it is about: a trigger of ours, something foreign on an audit table, an
            index, the connected role, durability, or a setting.
        detail: what is wrong, and what to do, in sentences.
    """

    kind: Kind
    detail: str

    @property
    def breaks_a_promise(self) -> bool:
        """Whether writes must not be served like this; else it is a warning."""
        return self.kind != "setting"


def check_guards(connection: Connection, tables: AuditTables) -> list[Finding]:
    """All that is wrong with this database, and with the role of this connection.

    It only reads. The connection MUST be one as those that write: role and `synchronous_commit` are
    those of a session, and so are SQLite's settings.
    """
    with busy(connection):  # capture would refuse at the first trigger that is missing
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
        connection: one as those that write.
        tables: the audit tables.
        tolerated: kinds that are let pass.

    Returns:
        What is wrong and was let pass.

    Raises:
        UnprotectedTrailError: something breaks a promise; the message names all of it.
    """
    findings = check_guards(connection, tables)
    refused = [f for f in findings if f.breaks_a_promise and f.kind not in tolerated]
    if refused:
        raise UnprotectedTrailError(" ".join(finding.detail for finding in refused))
    return findings


def restore_guards(connection: Connection, tables: AuditTables) -> None:
    """Make the triggers of this release in place of those that are there; for the owner only."""
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
                    f"There is no table {table.name}, or this role may not see it: migrate first."
                )
                yield Finding(kind="trigger", detail=detail)
            continue
        yield from _triggers_at(connection, table, table.name, _full(table, dialect_of(connection)))
        for partition in partitions_of(connection, table):
            yield from _triggers_at(connection, table, partition.name, partition.name)


def _triggers_at(
    connection: Connection, table: Table, place: str, full_name: str
) -> Iterator[Finding]:
    """What is wrong with the triggers of a table, or of a partition of it."""
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
            "trail, change them or hide them. Drop it, and find out who made it."
        )
        yield Finding(kind="foreign", detail=detail)


def _triggers_on(connection: Connection, table: Table, full_name: str) -> dict[str, Row[Any]]:
    """Every trigger that this table, or partition, has, by its name."""
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
        "removed. Put it back as docs/how-to/guard-the-tables.md says, find out who took it away, "
        "and run `auditspan verify`."
    )
    return Finding(kind="trigger", detail=detail)


def _postgresql_state(trigger: Trigger, row: Row[Any], _dialect: Dialect) -> str | None:
    """What is wrong with a trigger."""
    wanted = _POSTGRESQL_TYPES[trigger.name.removeprefix(f"{trigger.table.name}_")]
    if row.type != wanted or not row.is_unconditional or row.source != REFUSE_SOURCE:
        return "is not the one of this release"
    if row.enabled == "A":
        return None
    return "is disabled" if row.enabled == "D" else "is not ENABLE ALWAYS, so it can be passed by"


def _sqlite_state(trigger: Trigger, row: Row[Any], dialect: Dialect) -> str | None:
    is_ours = row.sql == create_trigger(trigger, dialect)
    return None if is_ours else "is not the one of this release"


def _roles(connection: Connection, tables: AuditTables) -> Iterator[Finding]:
    names = [_full(table, dialect_of(connection)) for table in tables.append_only]
    names += [one.name for one in partitions_of(connection, tables.event)]
    for detail in dangerous_roles(connection, names):
        yield Finding(kind="role", detail=detail)


def _postgresql_durability(connection: Connection) -> Iterator[Finding]:
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off":
            detail = (
                f"{name} is off: what was committed, and announced, can be gone after a crash of "
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
    lost = "what was committed, and announced, can be gone after a power cut"
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
            f"PRAGMA journal_mode is {journal}: readers and writers stop each other. Set it to WAL."
        )
        yield Finding(kind="setting", detail=detail)
    if not connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one():
        detail = (
            "PRAGMA foreign_keys is off: the application's own references are not checked. Set it "
            "to ON on every connection."
        )
        yield Finding(kind="setting", detail=detail)


def _full(table: Table, dialect: Dialect) -> str:
    return dialect.identifier_preparer.format_table(table)
