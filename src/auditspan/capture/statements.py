"""Statements outside the unit of work: Core, bulk and link tables, on any connection or engine.

An UPDATE or DELETE on an audited table has its rows read and locked just before it, and read again
by their keys after it; an INSERT has its rows read by the keys that it made. A batch costs a
constant number of statements more, and what the caller gets stays the same. A write that only a
text of SQL describes is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    DDL,
    Compiled,
    Connection,
    CursorResult,
    Engine,
    Insert,
    Table,
    TextClause,
    event,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.sql.visitors import iterate

from auditspan.capture.cascades import Affected, dependents
from auditspan.capture.criteria import assigned
from auditspan.capture.ctes import pending_ctes, writes_told
from auditspan.capture.inserts import (
    existing_rows,
    hold_out,
    inserted_keys,
    overwritten,
    require_no_cascade,
    require_no_replacing,
    statement_of,
    with_keys,
)
from auditspan.capture.pending import Pending, require_apart
from auditspan.capture.pictures import RowChange, Subject
from auditspan.capture.subjects import silent, subject_of, table_of
from auditspan.capture.texts import check_text, passes, require_own_description, tell_passed
from auditspan.capture.transactions import journal_of, running_flush
from auditspan.capture.updates import Touched, affected_rows, require_all_read
from auditspan.capture.writer import capture_for, captures_of
from auditspan.errors import UnauditedWriteError

_PENDING = "_auditspan_pending"
"""Where an execution context keeps what is to be done when its statement has run."""


@event.listens_for(Engine, "before_execute", retval=True)
def _before_execute(
    connection: Connection,
    element: Any,  # noqa: ANN401 (whatever can be executed)
    multiparams: Sequence[Mapping[str, Any]],
    params: Mapping[str, Any],
    execution_options: Mapping[str, Any],
) -> tuple[Any, Any, Any]:
    if isinstance(element, Insert) and not _is_unit_of_work(connection, execution_options):
        table = table_of(element.table)
        subject = None if table is None else subject_of(table)
        if subject is not None and not passes(connection):
            element = with_keys(element, subject, multiparams or [params])
    return element, multiparams, params


@event.listens_for(Engine, "before_cursor_execute")
def _before_cursor_execute(
    connection: Connection,
    cursor: Any,  # noqa: ANN401 (the driver's)
    statement: str,
    _parameters: object,
    context: Any,  # noqa: ANN401 (a DefaultExecutionContext, or None)
    _is_many: bool,  # noqa: FBT001
) -> None:
    if context is None or hasattr(context, _PENDING):
        return
    setattr(context, _PENDING, [])  # an INSERT of many rows comes by once for each of its batches
    try:
        _before_statement(connection, statement, context)
    except UnauditedWriteError:
        cursor.close()  # nobody else does: SQLAlchemy has not begun to execute
        raise


def _before_statement(connection: Connection, statement: str, context: Any) -> None:  # noqa: ANN401
    """Refuse what cannot be told, and prepare what can."""
    compiled = context.compiled
    if compiled is None or isinstance(compiled.statement, DDL):
        check_text(connection, statement)
    elif context.isddl:
        return
    else:
        setattr(context, _PENDING, _before_compiled(connection, statement, context))


def _before_compiled(connection: Connection, statement: str, context: Any) -> list[Pending]:  # noqa: ANN401
    parts = _before_ctes(connection, context) if context.compiled.ctes else []
    if not (context.isinsert or context.isupdate or context.isdelete):
        # A text may be all of a SELECT, or a part of it.
        check_text(connection, statement, writes_told(context.compiled))
        return parts
    whole = _before_write(connection, context)
    if whole is not None:
        require_apart([*parts, whole])
        return [*parts, whole]
    return parts


def _before_ctes(connection: Connection, context: Any) -> list[Pending]:  # noqa: ANN401
    for cte in context.compiled.ctes:
        for part in iterate(cte.element):
            if isinstance(part, TextClause):
                check_text(connection, part.text)
    pending = list(pending_ctes(connection, context))
    require_apart(pending)
    return pending


@event.listens_for(Engine, "after_execute")
def _after_execute(
    connection: Connection,
    element: Any,  # noqa: ANN401
    _multiparams: object,
    _params: object,
    _execution_options: object,
    result: CursorResult[Any],
) -> None:
    context = getattr(result, "context", None)
    pending: list[Pending] = getattr(context, _PENDING, [])
    if not pending:
        return
    statement: Any = element.statement if isinstance(element, Compiled) else element
    with _failing(connection):
        for one in pending:
            journal_of(connection).rewritten.update(one.affected.tables)
            for batch in _changed(connection, one, statement, result):
                one.capture.tell(connection, one.capture.records(connection, batch))


def _changed(
    connection: Connection,
    pending: Pending,
    statement: Any,  # noqa: ANN401 (whatever has been executed)
    result: CursorResult[Any],
) -> Iterator[list[RowChange]]:
    """What a write has done, in batches."""
    context: Any = result.context
    if pending.keys is not None:
        return pending.inserted(connection, pending.keys)
    if pending.is_part:
        return pending.affected.changed(connection)
    if context.isinsert:
        keys = inserted_keys(result, statement, pending.subject)
        return pending.inserted(connection, keys)
    is_many = len(context.compiled_parameters) > 1
    require_all_read(pending.subject, pending.affected, result, is_many=is_many)
    return pending.affected.changed(connection)


def _is_unit_of_work(connection: Connection, options: Mapping[str, Any]) -> bool:
    """Whether this is a statement of objects whose mapper hooks tell what it does."""
    flush = running_flush(connection)
    return flush is not None and bool(flush.open) and "compiled_cache" in options


def _before_write(connection: Connection, context: DefaultExecutionContext) -> Pending | None:
    compiled: Any = context.compiled
    target = compiled.compile_state.statement.table
    table = table_of(target)
    if table is None or subject_of(table) is None:
        verb = "insert" if context.isinsert else "update" if context.isupdate else "delete"
        require_own_description(connection, target if table is None else table, verb)
    if table is None:
        return None
    touched: Touched = set(assigned(compiled, table)) if context.isupdate else None
    follows = not context.isinsert and bool(dependents(table, touched))
    if subject_of(table) is None and captures_of(connection) and not passes(connection):
        statement = statement_of(context)
        if dependents(table, None):  # rows that are replaced are deleted, and others with them
            require_no_replacing(statement, table)
        if context.isinsert:
            require_no_cascade(table, overwritten(statement, table))
    if _is_unit_of_work(connection, context.execution_options):
        if follows:
            _follow_flush(connection, table, touched)
        return None
    subject = subject_of(table)
    if subject is None and not follows:
        return None
    return _pending(connection, context, subject or silent(table), touched)


def _pending(
    connection: Connection, context: DefaultExecutionContext, subject: Subject, touched: Touched
) -> Pending | None:
    capture = capture_for(connection, subject.table.metadata)
    journal_of(connection)  # refuses a connection without transactions before anything is written
    if passes(connection):
        verb = "insert" if context.isinsert else "update" if context.isupdate else "delete"
        tell_passed(connection, capture, subject, verb)
        return None
    require_no_replacing(statement_of(context), subject.table)
    if not context.isinsert:
        affected = affected_rows(connection, context, subject, touched, capture.mac_key)
        return Pending(capture=capture, subject=subject, affected=affected)
    affected = Affected(connection=connection, mac_key=capture.mac_key)
    existing = existing_rows(context, subject)
    races = existing is not None and not hold_out(connection, subject.table)
    if existing is not None:
        statement = subject.select().where(existing).order_by(*subject.key)
        rows = affected.rows_of(subject)
        rows.read(connection, statement.with_for_update(of=subject.table))
        touched = overwritten(statement_of(context), subject.table)
        affected.follow(rows, list(rows.keys), touched)
    return Pending(capture=capture, subject=subject, affected=affected, races=races)


def _follow_flush(connection: Connection, table: Table, touched: Touched) -> None:
    """Read what the database will change together with the objects of the running flush."""
    flush = running_flush(connection)
    if flush is None or table in flush.cascaded:
        return
    flush.cascaded.add(table)
    capture = capture_for(connection, table.metadata)
    affected = Affected(connection=connection, mac_key=capture.mac_key)
    keys = [state.key[1] for state in flush.open if state.key and table in state.mapper.tables]
    affected.follow_from(subject_of(table) or silent(table), keys, touched)
    flush.items.append(affected)


@contextmanager
def _failing(connection: Connection) -> Iterator[None]:
    """Let the transaction fail when a statement has run and its rows have not been told."""
    try:
        yield
    except Exception as error:
        journal_of(connection).fail(error)
        raise
