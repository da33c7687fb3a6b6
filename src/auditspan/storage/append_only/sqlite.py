"""Append-only tables on SQLite: triggers for each way to replace a row.

BEFORE UPDATE and BEFORE DELETE refuse these. BEFORE INSERT refuses an existing key: INSERT OR
REPLACE removes the conflicting row and fires no DELETE trigger. AFTER INSERT refuses a rowid below
1: before an insert, -1 stands for "not given", so that a row -1 could be replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Dialect, Table, UniqueConstraint

from auditspan.storage.append_only.trigger import Trigger, schema_prefix


def definitions(table: Table, _dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Yield a trigger for each way."""
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


def create_trigger(trigger: Trigger, dialect: Dialect) -> str:
    """Return the statement; the schema qualifies the trigger."""
    schema = schema_prefix(trigger.table, dialect)
    return f"CREATE TRIGGER {schema}{trigger.name} {trigger.definition}"


def drop_trigger(trigger: Trigger, dialect: Dialect) -> str:
    """Return the statement."""
    return f"DROP TRIGGER IF EXISTS {schema_prefix(trigger.table, dialect)}{trigger.name}"


def creation(_table: Table, triggers: Sequence[Trigger], dialect: Dialect) -> list[str]:
    """Return a statement for each trigger."""
    return [create_trigger(trigger, dialect) for trigger in triggers]


def function_removal(_table: Table, _dialect: Dialect) -> list[str]:
    """Return nothing: the triggers call no function."""
    return []


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
