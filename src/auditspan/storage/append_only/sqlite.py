"""Append-only tables on SQLite: triggers for each way to replace a row.

BEFORE UPDATE and BEFORE DELETE refuse these. BEFORE INSERT refuses an existing key: INSERT OR
REPLACE removes the conflicting row and fires no DELETE trigger. AFTER INSERT refuses a rowid below
1: before an insert, -1 stands for "not given", so that a row -1 could be replaced.

BEFORE DELETE on `audit_event` lets a row through that an authorised purge covers. SQLite has no
roles: every program that may write to the file may carry out a purge, or drop the trigger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Dialect, Table, UniqueConstraint

from auditspan.format import HOLD, PURGE, RETENTION_TARGET
from auditspan.storage.append_only.trigger import PURGED, Trigger, schema_prefix

_OF_RETENTION = f"target_type = '{RETENTION_TARGET[0]}' AND target_id = '{RETENTION_TARGET[1]}'"
_PURGEABLE = f"""SELECT max(point.tree_size)
  FROM (SELECT id, json_extract(body, '$.metadata.retention.size') AS size,
               json_extract(body, '$.metadata.retention.root') AS root,
               json_extract(body, '$.metadata.retention.before') AS before
          FROM audit_event WHERE {_OF_RETENTION} AND action = '{PURGE}') purge
  JOIN audit_leaf leaf ON leaf.row_id = purge.id
  JOIN audit_checkpoint point ON point.tree_size = purge.size
   AND lower(hex(point.root_hash)) = purge.root
   AND replace(point.created_at, ' ', 'T') || 'Z' < purge.before
 WHERE leaf.seq >= point.tree_size
   AND EXISTS (SELECT 1 FROM audit_delivery WHERE substr(sink, 1, 6) <> 'lease:')
   AND NOT EXISTS (SELECT 1 FROM audit_delivery
                    WHERE substr(sink, 1, 6) <> 'lease:' AND safe_seq < leaf.seq)
   AND NOT EXISTS (SELECT 1 FROM audit_event
                    WHERE {_OF_RETENTION} AND action = '{HOLD}' AND id > purge.id)"""
"""The number of leaves whose rows may be removed, as on PostgreSQL."""

_COVERED = f"row_id = OLD.id AND seq < coalesce(({_PURGEABLE}), 0)"
_UNLESS_PURGED = f"WHEN NOT EXISTS (SELECT 1 FROM audit_leaf WHERE {_COVERED}) "


def definitions(table: Table, _dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Yield a trigger for each way."""
    name = table.name
    for verb, unless in (("UPDATE", ""), ("DELETE", _UNLESS_PURGED if name == PURGED else "")):
        refusal = _raise(f"{name} is append-only: {verb} is refused")
        yield f"no_{verb.lower()}", f"BEFORE {verb} ON {name} {unless}{refusal}"
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


purge_removal = function_removal


def _raise(message: str) -> str:
    return f"BEGIN SELECT RAISE(ABORT, '{message}, on purpose'); END"


def _is_there(table: str, key: Sequence[str]) -> str:
    same = " AND ".join(f"{column} = NEW.{column}" for column in key)
    return f"EXISTS (SELECT 1 FROM {table} WHERE {same})"


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
