"""Guards of a trail on SQLite, which has no roles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Row, Table

from auditspan.seal.guards.finding import Finding
from auditspan.storage import AuditTables, Trigger, create_trigger
from auditspan.storage.triggers import StagedTable

_FULL = 2
_LOSSY_JOURNALS = frozenset({"off", "memory"})

_TRIGGERS = (
    "SELECT name, sql FROM {schema}sqlite_master WHERE type = 'trigger' AND tbl_name = ? "
    "UNION ALL SELECT name, sql FROM sqlite_temp_master WHERE type = 'trigger' AND tbl_name = ?"
)


def server_findings(connection: Connection, _tables: AuditTables) -> Iterator[Finding]:
    """Yield the problems with durability and settings."""
    yield from _durability(connection)
    yield from _settings(connection)


def triggers_on(connection: Connection, table: Table, _full_name: str) -> dict[str, Row[Any]]:
    """Return the triggers, including temporary ones."""
    schema = f"{table.schema}." if table.schema else ""
    both = (table.name, table.name)
    found = connection.exec_driver_sql(_TRIGGERS.format(schema=schema), both)
    return {row.name: row for row in found}


def trigger_state(trigger: Trigger, row: Row[Any], dialect: Dialect) -> str | None:
    """Compare the SQL."""
    is_ours = row.sql == create_trigger(trigger, dialect)
    return None if is_ours else "differs from that of this release"


def interference(_connection: Connection, _full_name: str) -> Sequence[str]:
    """Return nothing: there are no rules and no row security."""
    return ()


def invalid_indexes(_connection: Connection, _table: Table) -> Sequence[str]:
    """Return nothing: every index is complete."""
    return ()


def staging_findings(
    _connection: Connection, _staging: Table, _tables: AuditTables, _staged: Sequence[StagedTable]
) -> Iterator[Finding]:
    """Yield nothing: there is no drain function, and no privilege."""
    return iter(())


def _durability(connection: Connection) -> Iterator[Finding]:
    synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    lost = "data that was committed and announced can be lost in a power failure"
    if synchronous < _FULL:
        detail = f"PRAGMA synchronous is below FULL: {lost}. Set it to FULL on every connection."
        yield Finding(kind="durability", detail=detail)
    if journal in _LOSSY_JOURNALS:
        detail = f"PRAGMA journal_mode is {journal}: {lost}. Use a file, and set it to WAL."
        yield Finding(kind="durability", detail=detail)


def _settings(connection: Connection) -> Iterator[Finding]:
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
