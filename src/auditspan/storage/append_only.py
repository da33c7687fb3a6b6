"""Append-only audit tables: triggers that refuse every change to an existing row.

They also bind the owner of the tables, which has all privileges. The only way around them is to
drop or disable a trigger: `auditspan.guards` detects that, and `verify` detects the changes made
meanwhile. Statements that redefine a table (DROP, ALTER) fire no trigger on either database.

    PostgreSQL, ENABLE ALWAYS, so that `session_replication_role` does not switch them off
        BEFORE UPDATE OR DELETE, for each row
        BEFORE TRUNCATE, for the statement
    SQLite
        BEFORE UPDATE, BEFORE DELETE
        BEFORE INSERT of an existing key: INSERT OR REPLACE removes the conflicting row and fires
        no DELETE trigger
        AFTER INSERT of a rowid below 1: before an insert, -1 stands for "not given", so that a row
        -1 could be replaced
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import DDL, Connection, Dialect, Table, UniqueConstraint, event

from auditspan.storage.schemas import dialect_of, schema_in

REFUSE_FUNCTION = "auditspan_refuse_change"
"""The function called by PostgreSQL's triggers; one in each schema with audit tables."""

SQLSTATE = "23Z01"
"""The SQLSTATE of a refusal: class 23, so that drivers raise IntegrityError as on SQLite, with a
subclass of our own."""

REFUSE_SOURCE = f"""
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = '{SQLSTATE}',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' is refused, on purpose',
        HINT = 'Rows of an audit trail are never changed or removed, not by the owner either.';
END
"""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """Trigger of an append-only table.

    Attributes:
        table: its table.
        name: its name, unique in the schema.
        definition: the part of CREATE TRIGGER after the name.
    """

    table: Table
    name: str
    definition: str


def append_only(table: Table) -> Table:
    """Create the triggers of this table whenever it is created, for example by `create_all`."""
    # Propagated to copies made by `Table.to_metadata`.
    event.listen(table, "after_create", _after_create, propagate=True)
    event.listen(table, "after_drop", _after_drop, propagate=True)
    return table


def triggers_of(table: Table, dialect: Dialect) -> list[Trigger]:
    """Return the triggers that this append-only table requires on this database."""
    make = _postgresql_definitions if dialect.name == "postgresql" else _sqlite_definitions
    return [
        Trigger(table=table, name=f"{table.name}_{suffix}", definition=definition)
        for suffix, definition in make(table, dialect)
    ]


def creation(table: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that create the triggers of this table."""
    statements = [create_trigger(trigger, dialect) for trigger in triggers_of(table, dialect)]
    if dialect.name == "postgresql":
        always = f"ALTER TABLE {_full(table, dialect)} ENABLE ALWAYS TRIGGER"
        statements.insert(0, _create_function(table, dialect))
        statements += [f"{always} {trigger.name}" for trigger in triggers_of(table, dialect)]
    return [_ddl(statement) for statement in statements]


def removal(table: Table, dialect: Dialect) -> list[DDL]:
    """Return the statements that drop the existing triggers of this table."""
    schema, of = _schema(table, dialect), ""
    if dialect.name == "postgresql":
        schema, of = "", f" ON {_full(table, dialect)}"
    return [
        *(
            _ddl(f"DROP TRIGGER IF EXISTS {schema}{trigger.name}{of}")
            for trigger in triggers_of(table, dialect)
        ),
        *_function_removal(table, dialect),
    ]


def create_trigger(trigger: Trigger, dialect: Dialect) -> str:
    """Return the statement that creates this trigger."""
    # The schema qualifies the trigger's name on SQLite, and the table's on PostgreSQL.
    schema = _schema(trigger.table, dialect) if dialect.name == "sqlite" else ""
    return f"CREATE TRIGGER {schema}{trigger.name} {trigger.definition}"


def _after_create(table: Table, connection: Connection, **_: Any) -> None:  # noqa: ANN401 (SQLAlchemy's options)
    for statement in creation(table, dialect_of(connection)):
        connection.execute(statement)


def _after_drop(table: Table, connection: Connection, **_: Any) -> None:  # noqa: ANN401 (SQLAlchemy's options)
    for statement in _function_removal(table, dialect_of(connection)):
        connection.execute(statement)


def _create_function(table: Table, dialect: Dialect) -> str:
    # A fixed search path, so that the `||` operator cannot be replaced.
    return (
        f"CREATE OR REPLACE FUNCTION {_schema(table, dialect)}{REFUSE_FUNCTION}() RETURNS trigger "
        f"LANGUAGE plpgsql SET search_path = pg_catalog AS $refuse${REFUSE_SOURCE}$refuse$"
    )


def _function_removal(table: Table, dialect: Dialect) -> list[DDL]:
    """Return the statement that drops the function unless other triggers still call it."""
    if dialect.name != "postgresql":
        return []
    function = f"{_schema(table, dialect)}{REFUSE_FUNCTION}()"
    return [
        _ddl(
            f"DO $drop$ BEGIN DROP FUNCTION IF EXISTS {function};"
            " EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END $drop$"
        )
    ]


def _postgresql_definitions(table: Table, dialect: Dialect) -> Iterator[tuple[str, str]]:
    call = f"EXECUTE FUNCTION {_schema(table, dialect)}{REFUSE_FUNCTION}()"
    full = _full(table, dialect)
    yield "append_only", f"BEFORE UPDATE OR DELETE ON {full} FOR EACH ROW {call}"
    yield "no_truncate", f"BEFORE TRUNCATE ON {full} FOR EACH STATEMENT {call}"


def _sqlite_definitions(table: Table, _dialect: Dialect) -> Iterator[tuple[str, str]]:
    name = table.name
    for verb in ("UPDATE", "DELETE"):
        yield (
            f"no_{verb.lower()}",
            f"BEFORE {verb} ON {name} {_raise(f'{name} is append-only: {verb} is refused')}",
        )
    known = " OR ".join(_is_there(name, key) for key in _keys(table))
    replaced = f"{name} is append-only: a row with this key is there, replacing it is refused"
    yield "no_replace", f"BEFORE INSERT ON {name} WHEN {known} {_raise(replaced)}"
    below = f"{name} is append-only: a rowid below 1 is refused"
    yield "positive", f"AFTER INSERT ON {name} WHEN NEW.rowid < 1 {_raise(below)}"


def _raise(message: str) -> str:
    return f"BEGIN SELECT RAISE(ABORT, '{message}, on purpose'); END"


def _is_there(table: str, key: Sequence[str]) -> str:
    same = " AND ".join(f"{column} = NEW.{column}" for column in key)
    return f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608 (names of our own tables)


def _keys(table: Table) -> Iterator[list[str]]:
    """Yield the columns of every unique key, the hidden rowid first; REPLACE checks each key."""
    yield ["rowid"]
    if table.autoincrement_column is None:  # otherwise it is an alias of the rowid
        yield [column.name for column in table.primary_key]
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.unique:
            yield [column.name for column in index.columns]
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield [column.name for column in constraint.columns]


def _schema(table: Table, dialect: Dialect) -> str:
    schema = schema_in(dialect, table)
    return f"{dialect.identifier_preparer.quote(schema)}." if schema else ""


def _full(table: Table, dialect: Dialect) -> str:
    return dialect.identifier_preparer.format_table(table)


def _ddl(statement: str) -> DDL:
    return DDL(statement)  # type: ignore[no-untyped-call]
