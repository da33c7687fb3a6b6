"""Statements outside the unit of work: Core, bulk and link tables, on any connection or engine.

An UPDATE or DELETE on an audited table has its rows read and locked just before it, and read again
by their keys after it; an INSERT has its rows read by the keys that it made. A batch costs a
constant number of statements more, and what the caller gets stays the same. A write that only a
text of SQL describes is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.visitors import iterate

from auditspan.capture.cascades import Affected, dependents, taken_along
from auditspan.capture.criteria import assigned
from auditspan.capture.guard import TextWrite
from auditspan.capture.inserts import (
    existing_rows,
    hold_out,
    inserted_keys,
    overwritten,
    require_new,
    require_no_cascade,
    require_no_replacing,
    statement_of,
    with_keys,
)
from auditspan.capture.pictures import RowChange, Subject
from auditspan.capture.rows import BATCH, Key, read_by_key
from auditspan.capture.subjects import silent, subject_of, table_of
from auditspan.capture.texts import check_text, check_writes, tell_statement
from auditspan.capture.transactions import journal_of, running_flush
from auditspan.capture.unaudited import unaudited_reason
from auditspan.capture.updates import Touched, affected_rows, require_all_read
from auditspan.capture.writer import Capture, capture_for, captures_of
from auditspan.errors import UnauditedWriteError

_PENDING = "_auditspan_pending"
"""Where an execution context keeps what is to be done when its statement has run."""


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """A statement on an audited table that is about to run.

    Attributes:
        races: whether it may meet rows that nobody could see beforehand.
    """

    capture: Capture
    subject: Subject
    affected: Affected
    races: bool = False


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
        if subject is not None and not _passes(connection):
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
    setattr(context, _PENDING, None)  # an INSERT of many rows comes by once for each of its batches
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
    elif context.isinsert or context.isupdate or context.isdelete:
        _require_reading(connection, compiled.ctes or {})
        _before_write(connection, context)
    else:
        _require_reading(connection, compiled.ctes or {})
        check_text(connection, statement)  # a text may be all of a SELECT, or a part of it


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
    pending: _Pending | None = getattr(context, _PENDING, None)
    if context is None or pending is None:
        return
    with _failing(connection):
        if context.isinsert:
            statement: Any = element.statement if isinstance(element, Compiled) else element
            keys = inserted_keys(result, statement, pending.subject)
            batches = _inserted(connection, pending, keys)
        else:
            is_many = len(context.compiled_parameters) > 1
            require_all_read(pending.subject, pending.affected, result, is_many=is_many)
            batches = pending.affected.changed(connection)
        journal_of(connection).rewritten.update(pending.affected.tables)
        for batch in batches:
            pending.capture.tell(connection, pending.capture.records(connection, batch))


def _is_unit_of_work(connection: Connection, options: Mapping[str, Any]) -> bool:
    """Whether this is a statement of objects whose mapper hooks tell what it does."""
    flush = running_flush(connection)
    return flush is not None and bool(flush.open) and "compiled_cache" in options


def _passes(connection: Connection) -> bool:
    """Whether a statement may go without its rows; what a flush executes may not."""
    return unaudited_reason() is not None and running_flush(connection) is None


def _require_reading(connection: Connection, ctes: Mapping[Any, Any]) -> None:
    for cte in ctes:
        for part in iterate(cte.element):
            if isinstance(part, TextClause):
                check_text(connection, part.text)
        table = table_of(cte.element.table) if isinstance(cte.element, UpdateBase) else None
        if table is not None and subject_of(table) is not None:
            raise UnauditedWriteError(
                f"this statement was refused, because a common table expression in it writes to "
                f"{table.name!r}, which is audited: make that a statement of its own"
            )


def _require_own_description(connection: Connection, target: Any, verb: str) -> None:  # noqa: ANN401
    """Refuse a table of an audited one's name that is not the one in the trail's metadata."""
    known = {capture.metadata for capture in captures_of(connection)}
    name = getattr(target, "name", None)
    if isinstance(name, str) and getattr(target, "metadata", None) not in known:
        schema = getattr(target, "schema", None)
        check_writes(connection, [TextWrite(verb, schema, name)])


def _before_write(connection: Connection, context: DefaultExecutionContext) -> None:
    compiled: Any = context.compiled
    target = compiled.compile_state.statement.table
    table = table_of(target)
    if table is None or subject_of(table) is None:
        verb = "insert" if context.isinsert else "update" if context.isupdate else "delete"
        _require_own_description(connection, target if table is None else table, verb)
    if table is None:
        return
    touched: Touched = set(assigned(compiled, table)) if context.isupdate else None
    follows = not context.isinsert and bool(dependents(table, touched))
    if subject_of(table) is None and captures_of(connection) and not _passes(connection):
        statement = statement_of(context)
        if dependents(table, None):  # rows that are replaced are deleted, and others with them
            require_no_replacing(statement, table)
        if context.isinsert:
            require_no_cascade(table, overwritten(statement, table))
    if _is_unit_of_work(connection, context.execution_options):
        if follows:
            _follow_flush(connection, table, touched)
        return
    subject = subject_of(table)
    if subject is not None or follows:
        pending = _pending(connection, context, subject or silent(table), touched)
        setattr(context, _PENDING, pending)


def _pending(
    connection: Connection, context: DefaultExecutionContext, subject: Subject, touched: Touched
) -> _Pending | None:
    capture = capture_for(connection, subject.table.metadata)
    journal_of(connection)  # refuses a connection without transactions before anything is written
    if _passes(connection):
        verb = "insert" if context.isinsert else "update" if context.isupdate else "delete"
        reached = taken_along(subject.table) if context.isdelete else []
        for one in (subject, *reached):
            tell_statement(connection, capture, one, verb)
        return None
    require_no_replacing(statement_of(context), subject.table)
    if not context.isinsert:
        affected = affected_rows(connection, context, subject, touched, capture.mac_key)
        return _Pending(capture=capture, subject=subject, affected=affected)
    affected = Affected(connection=connection, mac_key=capture.mac_key)
    existing = existing_rows(context, subject)
    races = existing is not None and not hold_out(connection, subject.table)
    if existing is not None:
        statement = subject.select().where(existing).order_by(*subject.key)
        rows = affected.rows_of(subject)
        rows.read(connection, statement.with_for_update(of=subject.table))
        touched = overwritten(statement_of(context), subject.table)
        affected.follow(rows, list(rows.keys), touched)
    return _Pending(capture=capture, subject=subject, affected=affected, races=races)


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


def _inserted(
    connection: Connection, pending: _Pending, keys: Sequence[Key]
) -> Iterator[list[RowChange]]:
    """What an INSERT has made of rows that were there, and the rows that were not."""
    met = set(pending.affected.rows_of(pending.subject).keys)
    yield from pending.affected.changed(connection)
    fresh = [key for key in dict.fromkeys(keys) if key not in met]
    for start in range(0, len(fresh), BATCH):
        batch = fresh[start : start + BATCH]
        found = read_by_key(connection, pending.subject, batch, pending.capture.mac_key)
        if len(found) < len(batch):
            raise UnauditedWriteError(
                f"an INSERT into {pending.subject.table.name!r} was refused, because "
                f"{len(batch) - len(found)} of its rows could not be found by their keys: insert "
                "them through a session"
            )
        if pending.races:
            require_new(connection, pending.subject, batch)
        # In the order of the statement; a key that the database writes otherwise comes last.
        pictures = [found.pop(key) for key in batch if key in found] + list(found.values())
        yield list(pending.subject.changes((None, picture) for picture in pictures))


@contextmanager
def _failing(connection: Connection) -> Iterator[None]:
    """Let the transaction fail when a statement has run and its rows have not been told."""
    try:
        yield
    except Exception as error:
        journal_of(connection).fail(error)
        raise
