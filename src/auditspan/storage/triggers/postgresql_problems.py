"""Checks of the functions and triggers that stage an audited table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, text

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

_FUNCTIONS = text("""
    SELECT n.nspname AS schema, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS staging,
           p.proname AS name, p.pronargs::integer AS arguments, p.prosrc AS source,
           p.prosecdef AS definer, coalesce(p.proconfig, '{}') AS settings
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname IN :names
     WHERE c.oid = to_regclass(:table)
""").bindparams(bindparam("names", expanding=True))

# A relation without triggers has one row, in which the name is null.
_TRIGGERS = text("""
    WITH RECURSIVE tree (oid) AS (
        SELECT to_regclass(:table)::oid UNION
        SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
    )
    SELECT c.oid::regclass::text AS relation, c.relispartition AS partition,
           c.oid = to_regclass(:table) AS root,
           t.tgname AS name, t.tgtype::integer AS kind, t.tgenabled::text AS enabled,
           t.tgattr::text AS columns, t.tgparentid <> 0 AS copied,
           t.tgnargs AS arguments, t.tginitdeferred AS deferred,
           t.tgisinternal AS internal, n.nspname AS schema, p.proname AS function,
           substring(pg_get_triggerdef(t.oid) FROM ' WHEN \\(\\((.*)\\)\\) EXECUTE ') AS condition
      FROM tree JOIN pg_class c ON c.oid = tree.oid
      LEFT JOIN pg_trigger t ON t.tgrelid = c.oid
      LEFT JOIN pg_proc p ON p.oid = t.tgfoid
      LEFT JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE c.relkind IN ('r', 'p') ORDER BY c.oid <> to_regclass(:table), relation
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
    relations = _relations(connection, staged)
    problems = _differences(connection, staged, relations)
    return [*problems, *chain.from_iterable(map(_order_problems, relations))]


def trigger_differences(connection: Connection, staged: StagedTable) -> list[str]:
    """Return a sentence for each difference that recreating the triggers would repair."""
    return _differences(connection, staged, _relations(connection, staged))


def drain_problems(connection: Connection, staging: Table) -> list[str]:
    """Return a sentence for each problem with the drain and its trigger."""
    functions = (drain_function(), recorded_function())
    found = _live_functions(connection, staging, functions)
    trigger = {"schema": found[0].schema, "name": RECORDED}
    problems = [
        *_function_problems(connection, functions[0], found, arguments=1),
        *_function_problems(connection, functions[1], found),
    ]
    if connection.execute(_LACKS_RECORDED, trigger).scalar():
        problems.append(f"trigger {RECORDED} on audit_event is missing or changed: {_REPAIR}")
    return problems


def _relations(connection: Connection, staged: StagedTable) -> list[list[Row[Any]]]:
    """Return the rows of the triggers of the table, then of each of its children."""
    rows = connection.execute(_TRIGGERS, {"table": _full_name(connection, staged.table)})
    return [list(group) for _, group in groupby(rows, key=lambda row: row.relation)]


def _live_functions(
    connection: Connection, staging: Table, functions: Sequence[Function]
) -> Sequence[Row[Any]]:
    """Return the functions with these names; one row without a function if there are none."""
    names = [_plain(function.name, connection, doubled=False) for function in functions]
    table = _full_name(connection, staging)
    return connection.execute(_FUNCTIONS, {"table": table, "names": names}).all()


def _full_name(connection: Connection, table: Table) -> str:
    return _plain(dialect_of(connection).identifier_preparer.format_table(table), connection)


def _differences(
    connection: Connection, staged: StagedTable, relations: list[list[Row[Any]]]
) -> list[str]:
    row, truncate = functions = functions_of(staged, connection.dialect)
    found = _live_functions(connection, staged.staging, functions)
    if not found:
        staging = _full_name(connection, staged.staging)
        return [f"table {staging} does not exist: create the audit tables"]
    if not relations:
        table = _full_name(connection, staged.table)
        return [f"table {table} does not exist: create it, then {_REPAIR}"]
    problems = [
        problem
        for function in functions
        for problem in _function_problems(connection, function, found)
    ]
    for relation in relations:
        by_name = {trigger.name: trigger for trigger in relation}
        for trigger in TRIGGERS:
            wanted = (str(found[0].schema), (row if trigger.row else truncate).name)
            problems += _trigger_problems(trigger, by_name, relation[0], wanted)
    return problems


def _function_problems(
    connection: Connection, function: Function, live: Sequence[Row[Any]], *, arguments: int = 0
) -> Iterator[str]:
    key = (_plain(function.name, connection, doubled=False), arguments)
    found = next((one for one in live if (one.name, one.arguments) == key), None)
    full = f"function {live[0].schema}.{function.name}"
    parts = (_plain(part, connection) for part in function.source.split("\0"))
    source = str(live[0].staging).join(parts)
    settings = {f"{key}={value}" for key, value in function.settings.items()}
    if found is None:
        yield f"{full} does not exist: {_REPAIR}"
    elif found.source != source:
        yield f"{full} differs from the model and its policy: {_REPAIR}"
    elif not found.definer or set(found.settings) != settings:
        yield f"{full} has unexpected settings: {_REPAIR}"


def _trigger_problems(
    trigger: Trigger,
    by_name: dict[str, Row[Any]],
    relation: Row[Any],
    function: tuple[str, str],
) -> Iterator[str]:
    found = by_name.get(trigger.name)
    kind = "table" if relation.root else "partition" if relation.partition else "child table"
    full = f"trigger {trigger.name} on {kind} {relation.relation}"
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


def _order_problems(relation: list[Row[Any]]) -> Iterator[str]:
    """Yield a sentence for each application trigger that fires in the wrong order."""
    named = [one for one in relation if one.name is not None]
    others = [one for one in named if not (one.internal and one.name.startswith("RI_"))]
    for trigger in TRIGGERS:
        for other in others:
            if other.name in _OWN or other.enabled == "D" or other.deferred:
                continue
            if _fires_first(other, trigger):
                yield (
                    f"trigger {other.name} on {other.relation} fires before {trigger.name}, so "
                    "changes are staged in the wrong order: rename it to sort after"
                )
            elif _fires_last(other, trigger):
                yield (
                    f"trigger {other.name} on {other.relation} fires after {trigger.name}, so its "
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
