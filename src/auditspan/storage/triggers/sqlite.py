"""Triggers that stage row images on SQLite 3.31 and later.

Per table:

    BEFORE INSERT, BEFORE UPDATE   rows that REPLACE could displace (`sqlite_displaced`)
    AFTER INSERT, UPDATE           the displaced rows, if there may be any
    AFTER INSERT, UPDATE, DELETE   the image of the row itself

SQLite fires the newest trigger of a table first. These triggers are created last, and those of the
displaced rows after the others. So they fire before the application's AFTER triggers, whose own
writes are then staged in the right order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, MetaData, Row, Table

from auditspan.errors import AuditConfigError
from auditspan.storage.audit_change import audit_change_table
from auditspan.storage.triggers.sqlite_displaced import DisplacedRows, unreadable_keys
from auditspan.storage.triggers.sqlite_images import differs, image, image_columns, quoted, string
from auditspan.storage.triggers.staged_table import StagedTable

_NAMES = {
    "before_insert": "BEFORE INSERT",
    "before_update": "BEFORE UPDATE",
    "insert": "AFTER INSERT",
    "update": "AFTER UPDATE",
    "delete": "AFTER DELETE",
    "insert_displaced": "AFTER INSERT",
    "update_displaced": "AFTER UPDATE",
}
"""The triggers of one table in the order of creation."""

_TRIGGERED = """
    SELECT tbl_name AS name, sql AS source, NULL AS schema FROM sqlite_master
     WHERE type = 'trigger' AND substr(name, 1, 10) = 'auditspan_' AND substr(name, -7) = '_insert'
       AND instr(sql, ' AFTER INSERT ') AND instr(sql, 'audit_change')
     ORDER BY 1
"""
_OWN = """
    SELECT name FROM {schema}sqlite_master
     WHERE type = 'trigger' AND lower(tbl_name) = lower(?)
       AND substr(name, 1, 10) = 'auditspan_' AND instr(sql, 'audit_change')
"""
SURVIVES_ALTER = False

_REPAIR = "drop and create the auditspan triggers of this table again"


def trigger_statements(staged: StagedTable, dialect: Dialect) -> list[str]:
    """Return the statements that create or replace the triggers of one table.

    They are driver SQL (`Connection.exec_driver_sql`): `%` and `:` are not special.

    Raises:
        AuditConfigError: the columns of the table are unknown, or it is in another database than
            the staging table.
    """
    _require_same_database(staged)
    if not staged.columns:
        raise AuditConfigError(
            f"the triggers of {staged.table.key!r} cannot be printed, because its columns are "
            "unknown: pass `context.configure` the target_metadata that has this table, or migrate "
            "with a database"
        )
    schema = _schema(staged, dialect)
    created = [
        f"CREATE TRIGGER {schema}{quoted(_name(staged, key), dialect)}{_definition}"
        for key, _definition in _definitions(staged, dialect)
    ]
    return [*trigger_removal(staged, dialect), *created]


def _require_same_database(staged: StagedTable) -> None:
    """Refuse a table of an attached database: its triggers can only write to that database."""
    if staged.table.schema and staged.table.schema != staged.staging.schema:
        raise AuditConfigError(
            f"the table {staged.table.key!r} cannot be audited, because a trigger in the attached "
            f"database {staged.table.schema!r} cannot write to the audit tables in the main one: "
            f"give its models MetaData(schema={staged.table.schema!r}) and a trail of their own, "
            "or exempt them"
        )


def trigger_removal(staged: StagedTable, dialect: Dialect) -> list[str]:
    """Return the statements that drop the existing triggers of one table."""
    schema = _schema(staged, dialect)
    return [
        f"DROP TRIGGER IF EXISTS {schema}{quoted(_name(staged, key), dialect)}" for key in _NAMES
    ]


def removal_statements(table: Table, dialect: Dialect, connection: Connection | None) -> list[str]:
    """Return statements for the triggers in the database, else for the names they would have."""
    if connection is None:
        return trigger_removal(
            StagedTable(table=table, staging=audit_change_table(MetaData())), dialect
        )
    prefix = f"{quoted(table.schema, dialect)}." if table.schema else ""
    found = connection.exec_driver_sql(_OWN.format(schema=prefix), (table.name,)).scalars()
    return [f"DROP TRIGGER {prefix}{quoted(one, dialect)}" for one in found]


def removal_after_drop(_staged: StagedTable, _dialect: Dialect) -> list[str]:
    """Return nothing: SQLite drops triggers with their table."""
    return []


def staging_statements(_staging: Table, _dialect: Dialect) -> list[str]:
    """Return nothing: SQLite has no functions, and no privileges."""
    return []


staging_removal = staging_statements


def drain_problems(_connection: Connection, _staging: Table) -> list[str]:
    """Return nothing: the drain is a statement."""
    return []


def triggered_rows(connection: Connection) -> Sequence[Row[Any]]:
    """Read the tables from the schema."""
    return connection.exec_driver_sql(_TRIGGERED).all()


def pin_settings(_connection: Connection) -> None:
    """Do nothing: no setting changes the text of a value."""


def trigger_problems(connection: Connection, staged: StagedTable) -> list[str]:
    """Return a sentence for each reason why writes to this table may not be staged.

    An empty list means that the triggers match this release, fire before those of the application,
    and can read every value and unique key.
    """
    return [*trigger_differences(connection, staged), *_unreadable(connection, staged)]


def trigger_differences(connection: Connection, staged: StagedTable) -> list[str]:
    """Return a sentence for each difference that recreating the triggers would repair."""
    found = _triggers(connection, staged)
    return [*_differences(staged, found, connection.dialect)] or [*_late_triggers(staged, found)]


def _definitions(staged: StagedTable, dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Yield the key of each trigger in `_NAMES`, and its definition after the name."""
    displaced = DisplacedRows(staged, dialect)
    columns = image_columns(staged)
    old, new = image(staged, "OLD", dialect), image(staged, "NEW", dialect)
    if displaced:
        for key in ("insert", "update"):
            candidates = displaced.before(key.upper())
            yield f"before_{key}", _trigger(staged, dialect, f"before_{key}", candidates)
    insert = _stage(staged, dialect, f"'INSERT', NULL, {new}")
    changed = f"'UPDATE', {old}, {new} WHERE {differs(columns, dialect)}"
    update = _stage(staged, dialect, changed) + displaced.follow_update()
    delete = displaced.follow_delete() + _stage(staged, dialect, f"'DELETE', {old}, NULL")
    for key, body in {"insert": insert, "update": update, "delete": delete}.items():
        yield key, _trigger(staged, dialect, key, f"BEGIN\n{staged.note}{body}END")
    if displaced:
        for key in ("insert", "update"):
            settled = displaced.after(key.upper())
            yield f"{key}_displaced", _trigger(staged, dialect, f"{key}_displaced", settled)


def _trigger(staged: StagedTable, dialect: Dialect, key: str, body: str) -> str:
    return f" {_NAMES[key]} ON {quoted(staged.table.name, dialect)} FOR EACH ROW {body}"


def _stage(staged: StagedTable, dialect: Dialect, values: str) -> str:
    return (
        f"INSERT INTO {quoted(staged.staging.name, dialect)}"
        f" (table_name, position, operation, old, new)"
        f" SELECT {string(staged.table.name)}, total_changes(), {values};\n"
    )


def _name(staged: StagedTable, key: str) -> str:
    return f"auditspan_{staged.table.name}_{key}"


def _schema(staged: StagedTable, dialect: Dialect) -> str:
    return f"{quoted(staged.table.schema, dialect)}." if staged.table.schema else ""


def _triggers(connection: Connection, staged: StagedTable) -> dict[str, str]:
    """Return the SQL of every trigger of the table by its name, oldest first."""
    rows = connection.exec_driver_sql(
        f"SELECT name, sql FROM {_schema(staged, connection.dialect)}sqlite_master"
        " WHERE type = 'trigger' AND lower(tbl_name) = lower(?) ORDER BY rowid",
        (staged.table.name,),
    )
    return {row.name: row.sql for row in rows}


def _differences(staged: StagedTable, found: dict[str, str], dialect: Dialect) -> Iterator[str]:
    wanted = {_name(staged, key): text for key, text in _definitions(staged, dialect)}
    for name, definition in wanted.items():
        if name not in found:
            yield f"Trigger {name} of table {staged.table.name} is missing; {_REPAIR}."
        elif not found[name].endswith(f"{quoted(name, dialect)}{definition}"):
            yield f"Trigger {name} of table {staged.table.name} has been changed; {_REPAIR}."
    for name in {_name(staged, key) for key in _NAMES} & found.keys() - wanted.keys():
        yield f"Trigger {name} of table {staged.table.name} is out of date; {_REPAIR}."


def _late_triggers(staged: StagedTable, found: dict[str, str]) -> Iterator[str]:
    """Yield a sentence for each trigger that fires too early, because it is newer."""
    names, own = list(found), {_name(staged, key) for key in _NAMES}
    first = next((place for place, name in enumerate(names) if name in own), len(names))
    for name in names[first:]:
        if name not in own:
            yield (
                f"Trigger {name} of table {staged.table.name} was created after the auditspan"
                f" triggers and fires before them; {_REPAIR}."
            )
    created = [name for name in names if name in own]
    if created != [name for key in _NAMES if (name := _name(staged, key)) in found]:
        yield f"The triggers of table {staged.table.name} fire in the wrong order; {_REPAIR}."


def _unreadable(connection: Connection, staged: StagedTable) -> Iterator[str]:
    for name in unreadable_keys(staged.table):
        yield (
            f"Unique index {name} of table {staged.table.name} uses SQL text, so rows that REPLACE"
            " displaces through it are not recorded; declare it with column expressions."
        )
    encoding = connection.exec_driver_sql("PRAGMA encoding").scalar_one()
    if encoding != "UTF-8":
        yield f"The database stores text as {encoding}; auditspan requires UTF-8."
