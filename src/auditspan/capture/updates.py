"""UPDATE and DELETE outside the unit of work: the rows that they are about, before they run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, CursorResult, literal, type_coerce
from sqlalchemy.engine.default import DefaultExecutionContext

from auditspan.capture.cascades import Affected, dependents
from auditspan.capture.criteria import assigned, where, with_values
from auditspan.capture.pictures import Subject
from auditspan.errors import UnauditedWriteError
from auditspan.mac import MacKey

Touched = Collection[Column[Any]] | None
"""The columns that an UPDATE sets; None is a DELETE."""


def affected_rows(
    connection: Connection,
    context: DefaultExecutionContext,
    subject: Subject,
    touched: Touched,
    mac_key: MacKey | None,
) -> Affected:
    """The rows that a statement is about, locked, and those that the database changes with them.

    Raises:
        UnauditedWriteError: they cannot be told beforehand.
    """
    compiled: Any = context.compiled
    affected = Affected(connection=connection, mac_key=mac_key)
    rows = affected.rows_of(subject)
    later = _later_keys(context, subject) if touched else []
    statement = subject.select().add_columns(*later).order_by(*subject.key)
    statement = statement.where(where(context, compiled.compile_state.statement))
    # A row that may get a new child before the statement changes what that refers to is held whole.
    keeps_keys = (
        touched is not None
        and set(touched).isdisjoint(subject.table.primary_key)
        and not dependents(subject.table, touched)
    )
    statement = statement.with_for_update(of=subject.table, key_share=keeps_keys)
    rows.read(connection, statement, len(later))
    affected.named = len(rows.keys)
    affected.follow(rows, rows.keys, touched)
    return affected


def require_all_read(
    subject: Subject, affected: Affected, result: CursorResult[Any], *, is_many: bool
) -> None:
    """Refuse a statement that has matched rows which were not read before it.

    On PostgreSQL a row that another transaction commits between the two is seen only by the second.
    SQLite has one writer at a time, and its driver does not always count.

    Raises:
        UnauditedWriteError: it has.
    """
    count, expected = result.rowcount, affected.named
    if affected.connection.dialect.name != "postgresql" or count < 0 or count == expected:
        return
    if is_many and count < expected:  # a set of parameters may have met no row any more
        return
    raise UnauditedWriteError(
        f"this statement on {subject.table.name!r} was refused, because it has met "
        f"{count} rows where there were {expected} a moment before: another transaction "
        "changed the table meanwhile, or the criteria depend on the moment or on an earlier set "
        "of parameters. Roll back and run it again"
    )


def _later_keys(context: DefaultExecutionContext, subject: Subject) -> list[ColumnElement[Any]]:
    """The keys after an UPDATE that sets them, as expressions over the rows before it."""
    compiled: Any = context.compiled
    values = assigned(compiled, subject.table)
    if values.keys().isdisjoint(subject.key):
        return []
    if len(context.compiled_parameters) > 1:
        raise UnauditedWriteError(
            f"this UPDATE of {subject.table.name!r} was refused, because it changes keys by a list "
            "of parameters: change them one by one, or through a session"
        )
    (parameters,) = context.compiled_parameters
    later: list[ColumnElement[Any]] = []
    for position, column in enumerate(subject.key):
        expression: Any = column
        if column in values:
            given = values[column]
            expression = (
                literal(parameters[column.key], column.type)
                if given is None
                else with_values(given, context, parameters)
            )
        later.append(type_coerce(expression, column.type).label(f"later_{position}"))
    return later
