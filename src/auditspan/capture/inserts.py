"""INSERT outside the unit of work: the keys of what it made, and what an upsert found there.

Where SQLAlchemy would not learn the new keys, the statement is given a RETURNING, and the caller
still gets what the statement as written returns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Insert,
    Table,
    func,
    literal_column,
    select,
)
from sqlalchemy import tuple_ as row_value
from sqlalchemy.engine.cursor import _NO_RESULT_METADATA
from sqlalchemy.engine.default import DefaultExecutionContext

from auditspan.capture.cascades import dependents
from auditspan.capture.criteria import require_reading
from auditspan.capture.pictures import Subject
from auditspan.capture.rows import Key, has_key, lock_table
from auditspan.errors import UnauditedWriteError

_SILENT = "auditspan_silent"
"""Execution option: the caller has asked for no rows."""
_ADDED = "auditspan_added"
"""Execution option: so many columns at the end are ours and not the caller's."""


def with_keys(
    statement: Insert, subject: Subject, parameters: Sequence[Mapping[str, Any]]
) -> Insert:
    """The same INSERT, in a form that tells the keys of its rows.

    Raises:
        UnauditedWriteError: it is one whose keys cannot be told without changing its result.
    """
    if statement._returning:  # noqa: SLF001 (what the caller asked for is not public)
        return _with_key_returned(statement, subject)
    if _needs_returning(statement) or not _tells_key(statement, subject, parameters):
        return statement.returning(*subject.key).execution_options(**{_SILENT: True})
    if len(parameters) > 1 and not _are_given(subject.key, parameters):
        return statement.return_defaults(*subject.key).execution_options(**{_SILENT: True})
    return statement


def require_no_replacing(statement: Any, table: Table) -> None:  # noqa: ANN401 (a DML statement)
    """Refuse SQLite's OR REPLACE, which deletes whatever rows are in the way.

    Raises:
        UnauditedWriteError: the statement says so.
    """
    prefixes = " ".join(str(prefix) for prefix, _dialect in statement._prefixes)  # noqa: SLF001
    if "replace" in prefixes.lower():
        raise UnauditedWriteError(
            f"a statement on {table.name!r} was refused, because OR REPLACE deletes rows that it "
            "does not name: use on_conflict_do_update(...)"
        )


def overwritten(statement: Any, table: Table) -> set[Column[Any]]:  # noqa: ANN401 (any dialect's)
    """The columns that an upsert sets in rows that are there; none of any other INSERT."""
    values = getattr(statement._post_values_clause, "update_values_to_set", ())  # noqa: SLF001
    names = (key if isinstance(key, str) else key.key for key in dict(values))
    return {column for name in names if (column := table.c.get(name)) is not None}


def require_no_cascade(table: Table, touched: Collection[Column[Any]]) -> None:
    """Refuse an upsert of a table that is not audited, where audited rows change with it.

    Raises:
        UnauditedWriteError: they do.
    """
    if touched and dependents(table, touched):
        raise UnauditedWriteError(
            f"this upsert on {table.name!r} was refused, because audited rows may change with the "
            "keys that it sets (ON UPDATE): use update()"
        )


def hold_out(connection: Connection, table: Table) -> bool:
    """Keep other writers out of a table that refers to itself.

    What else shows an upsert that has met a row which was not there a moment before
    (`require_new`) cannot be told there from the lock by which a row holds its parent.

    Returns:
        Whether nobody else can write to the table now. On SQLite nobody ever can.
    """
    if connection.dialect.name != "postgresql":
        return True
    refers = any(key.referred_table is table for key in table.foreign_key_constraints)
    if refers:
        lock_table(connection, table)
    return refers


def require_new(connection: Connection, subject: Subject, keys: Sequence[Key]) -> None:
    """Refuse an upsert on PostgreSQL that has met a row which was not there a moment before.

    PostgreSQL leaves the lock of an upsert in `xmax` of the row that it has met.

    Raises:
        UnauditedWriteError: it has.
    """
    met = literal_column("xmax::text") != "0"
    own = select(func.count()).select_from(subject.table).where(has_key(subject.key, keys), met)
    if connection.execute(own).scalar_one():
        raise UnauditedWriteError(
            f"this upsert on {subject.table.name!r} was refused, because another transaction has "
            "written one of its rows at the same moment: roll back and run it again"
        )


def inserted_keys(result: CursorResult[Any], statement: Insert, subject: Subject) -> list[Key]:
    """The keys of the rows that an INSERT made or met; the caller's rows are still to be read."""
    options = statement.get_execution_options()
    if statement._returning:  # noqa: SLF001
        rows = result.all()
        keys = [tuple(row._mapping[column] for column in subject.key) for row in rows]  # noqa: SLF001
        _give_back(result, rows, silent=_SILENT in options, added=options.get(_ADDED, 0))
        return keys
    if not set(subject.key) <= set(subject.table.primary_key):
        return [given_key(subject.key, values) for values in result.context.compiled_parameters]
    primary = list(subject.table.primary_key)
    order = [primary.index(column) for column in subject.key]
    keys = [tuple(row[i] for i in order) for row in result.context.inserted_primary_key_rows]
    if _SILENT in options:
        _give_back(result, keys, silent=True, added=0)
    if any(part is None for key in keys for part in key):
        raise UnauditedWriteError(
            f"a row of {subject.table.name!r} was inserted whose key the database does not tell: "
            "give the key in the statement, or insert it through a session"
        )
    return keys


def existing_rows(context: DefaultExecutionContext, subject: Subject) -> ColumnElement[bool] | None:
    """Which rows an upsert may change; None where it changes none that are there.

    Raises:
        UnauditedWriteError: that cannot be told beforehand.
    """
    statement = statement_of(context)
    clause = statement._post_values_clause  # noqa: SLF001
    if clause is None or "DoNothing" in type(clause).__name__:
        return None
    columns = _conflict_columns(clause, subject.table)
    if statement.select is not None:
        require_reading(statement.select)
        source = statement.select.subquery()
        names = list(statement._select_names)  # noqa: SLF001
        values = select(*(list(source.c)[names.index(column.key)] for column in columns))
        return (columns[0] if len(columns) == 1 else row_value(*columns)).in_(values)
    return has_key(columns, [given_key(columns, values) for values in _value_sets(context)])


def _with_key_returned(statement: Insert, subject: Subject) -> Insert:
    returned = set(statement._all_selected_columns)  # noqa: SLF001
    missing = [column for column in subject.key if column not in returned]
    if not missing:
        return statement
    if statement._propagate_attrs.get("compile_state_plugin") == "orm":  # noqa: SLF001
        raise UnauditedWriteError(
            f"this INSERT into {subject.table.name!r} was refused, because its rows could not be "
            "found again: add the primary key to returning(...)"
        )
    return statement.returning(*missing).execution_options(**{_ADDED: len(missing)})


def _needs_returning(statement: Insert) -> bool:
    """Whether SQLAlchemy learns no keys from such a statement."""
    return (
        statement.select is not None
        or statement._inline  # noqa: SLF001
        or bool(statement._multi_values)  # noqa: SLF001
        or statement._post_values_clause is not None  # noqa: SLF001
    )


def _tells_key(
    statement: Insert, subject: Subject, parameters: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether the key is a primary key, or stands in the parameters."""
    if set(subject.key) <= set(subject.table.primary_key):
        return True
    return not statement._values and _are_given(subject.key, parameters)  # noqa: SLF001


def _are_given(key: Sequence[Column[Any]], parameters: Sequence[Mapping[str, Any]]) -> bool:
    return all(
        _has_default(column) or all(column.key in values for values in parameters) for column in key
    )


def _has_default(column: Column[Any]) -> bool:
    """Whether SQLAlchemy itself makes the value, before the statement runs."""
    default = column.default
    return default is not None and (default.is_scalar or default.is_callable)


def _give_back(result: CursorResult[Any], rows: Sequence[Any], *, silent: bool, added: int) -> None:
    if silent:
        if result.context.dialect.name == "sqlite":  # its driver counts while rows are fetched
            result.context._rowcount = len(rows)  # noqa: SLF001
        result._soft_close()  # noqa: SLF001
        result._metadata = _NO_RESULT_METADATA  # noqa: SLF001 (as SQLAlchemy does after its own)
        return
    result._rewind(rows)  # noqa: SLF001 (as SQLAlchemy does when it has looked itself)
    if added:
        result.columns(*range(len(result.keys()) - added))


def _conflict_columns(clause: Any, table: Table) -> list[Column[Any]]:  # noqa: ANN401
    """The columns by which an upsert meets a row that is there."""
    constraint = getattr(clause, "constraint_target", None)  # PostgreSQL's
    if constraint is not None:
        named: list[Any] = [*table.constraints, *table.indexes]
        for found in named:
            if found.name == constraint and hasattr(found, "columns"):
                return list(found.columns)
    elements = list(clause.inferred_target_elements or ())
    columns = [table.c.get(e if isinstance(e, str) else getattr(e, "key", "")) for e in elements]
    known = [column for column in columns if column is not None]
    if not known or len(known) < len(elements):
        raise UnauditedWriteError(
            f"an upsert on {table.name!r} was refused, because it does not say by which columns it "
            "meets existing rows: give index_elements=[...] with the columns of a unique key"
        )
    return known


def _value_sets(context: DefaultExecutionContext) -> Sequence[Mapping[str, Any]]:
    return values_of(statement_of(context)) or context.compiled_parameters


def values_of(statement: Any) -> list[dict[str, Any]]:  # noqa: ANN401 (an Insert of any dialect)
    """The rows that `values([...])` gives, by the names of the columns; none where it gives one."""
    pairs = [
        values.items()
        if isinstance(values, Mapping)
        else zip(statement.table.c, values, strict=False)
        for many in statement._multi_values  # noqa: SLF001
        for values in many
    ]
    return [{key if isinstance(key, str) else key.key: value for key, value in p} for p in pairs]


def statement_of(context: DefaultExecutionContext) -> Any:  # noqa: ANN401 (an Insert of any dialect)
    """The statement that runs; its own where it was compiled beforehand."""
    compiled: Any = context.compiled
    return compiled.statement if context.invoked_statement is None else context.invoked_statement


def given_key(columns: Sequence[Column[Any]], values: Mapping[str, Any]) -> Key:
    """The key of a new row, by what a statement says of it.

    Raises:
        UnauditedWriteError: it does not say the key.
    """
    found = tuple(values.get(column.key, _ABSENT) for column in columns)
    if any(value is _ABSENT or isinstance(value, ColumnElement) for value in found):
        raise UnauditedWriteError(
            "a new row was refused, because the database computes its key and does not tell it: "
            f"give {', '.join(column.name for column in columns)} as parameters"
        )
    return found


_ABSENT = object()
