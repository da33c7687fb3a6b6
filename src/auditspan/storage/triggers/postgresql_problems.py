"""Checks of the functions and triggers that stage an audited table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, text

from auditspan.storage.schemas import dialect_of
from auditspan.storage.triggers.postgresql_functions import (
    Function,
    drain_function,
    functions_of,
    recorded_function,
)
from auditspan.storage.triggers.postgresql_triggers import RECORDED, TRIGGERS, Trigger
from auditspan.storage.triggers.staged_table import StagedTable

_REPAIR = "recreate the triggers"

_STAGING = text("""
    SELECT n.nspname AS schema, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass(:table)
""")

_FUNCTION = text("""
    SELECT p.prosrc AS source, p.prosecdef AS definer, coalesce(p.proconfig, '{}') AS settings
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = :schema AND p.proname = :name AND p.pronargs = :arguments
""")

_RELATIONS = text("""
    WITH RECURSIVE tree (oid) AS (
        SELECT to_regclass(:table)::oid UNION
        SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
    )
    SELECT c.oid, c.oid::regclass::text AS name, c.relispartition AS partition,
           c.oid = to_regclass(:table) AS root
      FROM tree JOIN pg_class c ON c.oid = tree.oid
     WHERE c.relkind IN ('r', 'p') ORDER BY c.oid <> to_regclass(:table), name
""")

_TRIGGERS = text("""
    SELECT t.tgname AS name, t.tgtype::integer AS kind, t.tgenabled AS enabled,
           t.tgattr::text AS columns, t.tgparentid <> 0 AS copied,
           t.tgnargs AS arguments, t.tginitdeferred AS deferred,
           t.tgisinternal AS internal, n.nspname AS schema, p.proname AS function,
           substring(pg_get_triggerdef(t.oid) FROM ' WHEN \\(\\((.*)\\)\\) EXECUTE ') AS condition
      FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
      JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE t.tgrelid = :oid
""")

_LACKS_RECORDED = text("""
    SELECT EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = :schema AND c.relname = 'audit_event' AND NOT EXISTS (
            SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
             WHERE t.tgrelid = c.oid AND t.tgname = :name AND p.pronamespace = n.oid
               AND p.proname = 'auditspan_recorded' AND t.tgenabled = 'A' AND t.tgtype = 4
               AND t.tgqual IS NULL))
""")

_ROW, _BEFORE, _INSTEAD, _TRUNCATE = 1, 2, 64, 32
_EVENTS = 4 | 8 | 16  # INSERT, DELETE, UPDATE
_OWN = {trigger.name for trigger in TRIGGERS}


def trigger_problems(connection: Connection, staged: StagedTable) -> list[str]:
    """Return a sentence for each difference from the result of `trigger_statements`.

    Triggers of the application that fire in the wrong order relative to ours are reported too.
    """
    problems = trigger_differences(connection, staged)
    name = _plain(dialect_of(connection).identifier_preparer.format_table(staged.table), connection)
    for relation in connection.execute(_RELATIONS, {"table": name}).all():
        found = connection.execute(_TRIGGERS, {"oid": relation.oid}).all()
        problems += _order_problems(found, relation)
    return problems


def trigger_differences(connection: Connection, staged: StagedTable) -> list[str]:
    """Return a sentence for each difference that recreating the triggers would repair."""
    format_table = dialect_of(connection).identifier_preparer.format_table
    tables = {name: _plain(format_table(getattr(staged, name)), connection) for name in _NAMES}
    staging = connection.execute(_STAGING, {"table": tables["staging"]}).one_or_none()
    if staging is None:
        return [f"table {tables['staging']} does not exist: create the audit tables"]
    relations = connection.execute(_RELATIONS, {"table": tables["table"]}).all()
    if not relations:
        return [f"table {tables['table']} does not exist: create it, then {_REPAIR}"]
    problems = [
        problem
        for function in functions_of(staged, connection.dialect)
        for problem in _function_problems(connection, function, staging)
    ]
    for relation in relations:
        problems += _relation_problems(connection, staged, relation, str(staging.schema))
    return problems


_NAMES = ("staging", "table")


def drain_problems(connection: Connection, staging: Table) -> list[str]:
    """Return a sentence for each problem with the drain and its trigger."""
    name = dialect_of(connection).identifier_preparer.format_table(staging)
    found = connection.execute(_STAGING, {"table": _plain(name, connection)}).one()
    trigger = {"schema": found.schema, "name": RECORDED}
    problems = [
        *_function_problems(connection, drain_function(), found, arguments=1),
        *_function_problems(connection, recorded_function(), found),
    ]
    if connection.execute(_LACKS_RECORDED, trigger).scalar():
        problems.append(f"trigger {RECORDED} on audit_event is missing or changed: {_REPAIR}")
    return problems


def _function_problems(
    connection: Connection, function: Function, staging: Row[Any], *, arguments: int = 0
) -> Iterator[str]:
    where = {
        "schema": staging.schema,
        "name": _plain(function.name, connection, doubled=False),
        "arguments": arguments,
    }
    found = connection.execute(_FUNCTION, where).one_or_none()
    full = f"function {staging.schema}.{function.name}"
    source = staging.name.join(_plain(part, connection) for part in function.source.split("\0"))
    settings = {f"{key}={value}" for key, value in function.settings.items()}
    if found is None:
        yield f"{full} does not exist: {_REPAIR}"
    elif found.source != source:
        yield f"{full} differs from the model and its policy: {_REPAIR}"
    elif not found.definer or set(found.settings) != settings:
        yield f"{full} has unexpected settings: {_REPAIR}"


def _relation_problems(
    connection: Connection, staged: StagedTable, relation: Row[Any], schema: str
) -> Iterator[str]:
    found = connection.execute(_TRIGGERS, {"oid": relation.oid}).all()
    by_name = {trigger.name: trigger for trigger in found}
    for trigger in TRIGGERS:
        function = trigger.function(staged, connection.dialect).name
        yield from _trigger_problems(trigger, by_name, relation, (schema, function))


def _trigger_problems(
    trigger: Trigger,
    by_name: dict[str, Row[Any]],
    relation: Row[Any],
    function: tuple[str, str],
) -> Iterator[str]:
    found = by_name.get(trigger.name)
    kind = "table" if relation.root else "partition" if relation.partition else "child table"
    full = f"trigger {trigger.name} on {kind} {relation.name}"
    if found is None:
        yield f"{full} does not exist: {_REPAIR}"
    elif not _equal(trigger, found, relation, function):
        yield f"{full} differs from the one that was created: {_REPAIR}"
    elif found.enabled == "D":
        yield f"{full} is disabled: {_REPAIR}"
    elif found.enabled != "A":
        yield f"{full} is not ENABLE ALWAYS, so session_replication_role disables it: {_REPAIR}"


def _equal(
    trigger: Trigger, found: Row[Any], relation: Row[Any], function: tuple[str, str]
) -> bool:
    # The triggers of a child table that is itself audited call its own functions.
    prefix = function[1].split("_", 2)[:2]
    same_function = (found.schema, found.function) == function or (
        not relation.root
        and not relation.partition
        and (found.schema, found.function.split("_", 2)[:2]) == (function[0], prefix)
    )
    # PostgreSQL converts the row in the condition of a trigger that it copied to a partition.
    condition = found.condition if found.copied else trigger.condition
    return same_function and (
        (trigger.kind, condition, "", 0)
        == (found.kind, found.condition, found.columns, found.arguments)
    )


def _order_problems(found: Sequence[Row[Any]], relation: Row[Any]) -> Iterator[str]:
    """Yield a sentence for each application trigger that fires in the wrong order."""
    others = [one for one in found if not (one.internal and one.name.startswith("RI_"))]
    for trigger in TRIGGERS:
        for other in others:
            if other.name in _OWN or other.enabled == "D" or other.deferred:
                continue
            if _fires_first(other, trigger):
                yield (
                    f"trigger {other.name} on {relation.name} fires before {trigger.name}, so "
                    "changes are staged in the wrong order: rename it to sort after"
                )
            elif _fires_last(other, trigger):
                yield (
                    f"trigger {other.name} on {relation.name} fires after {trigger.name}, so its "
                    "changes are staged in the wrong order: rename it to sort before"
                )


def _fires_first(other: Row[Any], trigger: Trigger) -> bool:
    """Check for an AFTER trigger for each row of the same event whose name sorts before."""
    same = other.kind & trigger.kind & _EVENTS and other.kind & (_ROW | _BEFORE | _INSTEAD) == _ROW
    return trigger.row and bool(same) and other.name.encode() < trigger.name.encode()


def _fires_last(other: Row[Any], trigger: Trigger) -> bool:
    """Check for a BEFORE TRUNCATE trigger whose name sorts after."""
    both = _BEFORE | _TRUNCATE
    same = other.kind & both == both and trigger.kind == both
    return same and other.name.encode() > trigger.name.encode()


def _plain(sql: str, connection: Connection, *, doubled: bool = True) -> str:
    """Undo the doubling of percent signs in SQL for the driver."""
    percents = doubled and connection.dialect.paramstyle in {"format", "pyformat"}
    return sql.replace("%%", "%") if percents else sql
