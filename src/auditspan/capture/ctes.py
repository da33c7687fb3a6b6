"""Writes in common table expressions: `WITH … AS (UPDATE …)`, which only PostgreSQL has.

They run together with the statement that carries them and with one another, all on the rows as they
were before it. So their rows are read before and after it, like those of any other statement. What
they return says nothing of a row that another transaction adds in between: others are kept out of
the table until the transaction ends, which other captured statements do not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import BindParameter, Connection, Delete, Insert, Table
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.sql.dml import UpdateBase

from auditspan.capture.cascades import Affected, dependents
from auditspan.capture.criteria import Parameters, where, with_values
from auditspan.capture.guard import TextWrite
from auditspan.capture.inserts import given_key, overwritten, values_of
from auditspan.capture.pending import Pending
from auditspan.capture.pictures import Subject
from auditspan.capture.rows import Key, lock_table
from auditspan.capture.subjects import silent, subject_of, table_of
from auditspan.capture.texts import passes, require_own_description, tell_passed
from auditspan.capture.transactions import journal_of
from auditspan.capture.updates import Touched
from auditspan.capture.writer import capture_for
from auditspan.errors import UnauditedWriteError


def pending_ctes(connection: Connection, context: DefaultExecutionContext) -> Iterator[Pending]:
    """What is to be told of the writes in the common table expressions of a statement.

    Raises:
        UnauditedWriteError: of one of them it cannot be told.
    """
    for write in _writes(context.compiled):
        yield from _pending(connection, context, write)


def writes_told(compiled: Any) -> list[TextWrite]:  # noqa: ANN401 (an SQLCompiler)
    """The writes that `pending_ctes` is about, as they stand in the text of the statement."""
    return [
        TextWrite(write.__visit_name__, None, getattr(write.table, "name", ""))
        for write in _writes(compiled)
    ]


def _writes(compiled: Any) -> list[UpdateBase]:  # noqa: ANN401
    ctes = compiled.ctes or ()
    return [cte.element for cte in ctes if isinstance(cte.element, UpdateBase)]


def _pending(
    connection: Connection, context: DefaultExecutionContext, write: UpdateBase
) -> Iterator[Pending]:
    table = table_of(write.table)
    if table is None or subject_of(table) is None:
        verb = write.__visit_name__
        require_own_description(connection, write.table if table is None else table, verb)
    if table is None:
        return
    touched = _touched(write, table)
    follows = bool(dependents(table, touched))
    if subject_of(table) is None and not follows:
        return
    subject = subject_of(table) or silent(table)
    capture = capture_for(connection, table.metadata)
    journal_of(connection)  # refuses a connection without transactions before anything is written
    if passes(connection):
        tell_passed(connection, capture, subject, write.__visit_name__)
        return
    _require_told(context, write, subject, touched)
    lock_table(connection, table)
    affected = Affected(connection=connection, mac_key=capture.mac_key)
    if isinstance(write, Insert):
        keys = _keys(context, write, subject)
        yield Pending(capture=capture, subject=subject, affected=affected, is_part=True, keys=keys)
        return
    rows = affected.rows_of(subject)
    statement = subject.select().where(where(context, write)).order_by(*subject.key)
    rows.read(connection, statement.with_for_update(of=table))
    affected.follow(rows, rows.keys, touched)
    yield Pending(capture=capture, subject=subject, affected=affected, is_part=True)


def _touched(write: UpdateBase, table: Table) -> Touched:
    """The columns that it sets in rows that are there; None is a DELETE."""
    if isinstance(write, Delete):
        return None
    if isinstance(write, Insert):
        return overwritten(write, table)
    return {column for name in _values(write) if (column := table.c.get(name)) is not None}


def _values(write: Any) -> dict[str, Any]:  # noqa: ANN401 (an Insert or Update)
    ordered = getattr(write, "_ordered_values", None)  # SQLAlchemy 2.0
    values = dict(ordered or write._values or ())  # noqa: SLF001
    return {key if isinstance(key, str) else key.key: value for key, value in values.items()}


def _require_told(
    context: DefaultExecutionContext, write: UpdateBase, subject: Subject, touched: Touched
) -> None:
    """Refuse what cannot be told of a write that returns nothing to us.

    Raises:
        UnauditedWriteError: it is such a one.
    """
    why = None
    if context._is_server_side:  # noqa: SLF001 (it has not run when its cursor is given to the caller)
        why = "through a cursor on the server"
    elif isinstance(write, Insert) and write._post_values_clause is not None:  # noqa: SLF001
        why = "as an upsert"
    elif isinstance(write, Insert) and write.select is not None:
        why = "from a SELECT, whose keys it does not tell"
    elif touched and not set(touched).isdisjoint(subject.key):
        why = "and changes keys"
    if why:
        raise UnauditedWriteError(
            f"this statement was refused, because a common table expression in it writes to "
            f"{subject.table.name!r}, which is audited, {why}: make that a statement of its own"
        )


def _keys(context: DefaultExecutionContext, write: Insert, subject: Subject) -> list[Key]:
    """The keys of the rows that it inserts, which stand in it.

    Raises:
        UnauditedWriteError: they do not.
    """
    return [
        given_key(subject.key, _known(context, row, parameters))
        for parameters in context.compiled_parameters
        for row in values_of(write) or [_values(write)]
    ]


def _known(
    context: DefaultExecutionContext, row: Mapping[str, Any], parameters: Parameters
) -> dict[str, Any]:
    return {
        name: with_values(value, context, parameters).effective_value
        if isinstance(value, BindParameter)
        else value
        for name, value in row.items()
    }
