"""SQL as text on connections under a trail: refused when it writes to an audited table.

`trail.unaudited(reason=...)` lets it pass, and so does a trail that is not strict; either leaves
one record for each type of target, which says that a statement has run and not what it did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from auditspan.capture.cascades import taken_along
from auditspan.capture.guard import TextWrite, text_writes
from auditspan.capture.pictures import Subject
from auditspan.capture.subjects import subject_of
from auditspan.capture.transactions import journal_of, running_flush
from auditspan.capture.unaudited import unaudited_reason
from auditspan.capture.writer import Capture, captures_of
from auditspan.errors import UnauditedWriteError
from auditspan.record import Target


def check_text(connection: Connection, sql: str, told: Iterable[TextWrite] = ()) -> None:
    """Refuse a text of SQL that writes to an audited table, or record it.

    Args:
        connection: on which it is about to run.
        sql: the text.
        told: writes in it that are told otherwise.

    Raises:
        UnauditedWriteError: it does, the trail is strict, and nobody has said `unaudited`.
    """
    writes = text_writes(sql, connection.dialect.name)
    if writes:
        left = Counter(map(_named, told))
        check_writes(connection, [write for write in writes if not _is_taken(left, _named(write))])


def _named(write: TextWrite) -> tuple[str, str]:
    return write.verb, write.table.casefold()


def _is_taken(left: Counter[tuple[str, str]], name: tuple[str, str]) -> bool:
    """Whether there is one of this name left, which then is no more."""
    left[name] -= 1
    return left[name] >= 0


def check_writes(connection: Connection, writes: Sequence[TextWrite]) -> None:
    """Refuse writes that only name an audited table, or record them.

    Raises:
        UnauditedWriteError: as `check_text`.
    """
    if not writes:
        return
    for capture in captures_of(connection):
        found = {
            subject.table: (write, subject)
            for write in reversed(writes)
            for subject in _subjects_written(capture, write)
        }
        for write, subject in found.values():  # once for each table, however it is reached
            _refuse_or_tell(connection, capture, write, subject)


def tell_statement(connection: Connection, capture: Capture, subject: Subject, verb: str) -> None:
    """Record that a statement has run whose rows are not told one by one."""
    journal_of(connection).rewritten.add(subject.table)
    records = [
        capture.recorder.record(
            f"{type_}.statement",
            tx_id=capture.tx_id(connection),
            target=Target(type=type_, id=None),
            reason=unaudited_reason(),
            metadata={"statement": verb},
        )
        for type_ in sorted(subject.types)
    ]
    capture.tell(connection, records)


def passes(connection: Connection) -> bool:
    """Whether a statement may go without its rows; what a flush executes may not."""
    return unaudited_reason() is not None and running_flush(connection) is None


def tell_passed(connection: Connection, capture: Capture, subject: Subject, verb: str) -> None:
    """Record that a statement has passed, and for a deletion, what goes with its rows."""
    reached = taken_along(subject.table) if verb == "delete" else []
    for one in (subject, *reached):
        tell_statement(connection, capture, one, verb)


def require_own_description(connection: Connection, target: Any, verb: str) -> None:  # noqa: ANN401
    """Refuse a table of an audited one's name that is not the one in the trail's metadata.

    Raises:
        UnauditedWriteError: as `check_text`.
    """
    known = {capture.metadata for capture in captures_of(connection)}
    name = getattr(target, "name", None)
    if isinstance(name, str) and getattr(target, "metadata", None) not in known:
        schema = getattr(target, "schema", None)
        check_writes(connection, [TextWrite(verb, schema, name)])


def _subjects_written(capture: Capture, write: TextWrite) -> list[Subject]:
    """The audited table that is named, or those that a deletion from the named one reaches."""
    for table in capture.metadata.tables.values():
        is_named = table.name.casefold() == write.table.casefold()
        if is_named and (write.schema is None or table.schema in {None, write.schema}):
            subject = subject_of(table)
            found = [] if subject is None else [subject]
            if write.verb in {"delete", "merge", "replace", "truncate"}:
                found += taken_along(table, truncated=write.verb == "truncate")
            return found
    return []


def _refuse_or_tell(
    connection: Connection, capture: Capture, write: TextWrite, subject: Subject
) -> None:
    if unaudited_reason() is None and capture.recorder.strict:
        raise UnauditedWriteError(
            f"this SQL was refused, because it writes to {write.table!r}, which is audited or has "
            "audited rows behind it, and a text does not tell which rows it changes: write it with "
            "insert(), update() or delete(), or wrap it in `with trail.unaudited(reason=...)`, "
            "which is recorded"
        )
    tell_statement(connection, capture, subject, write.verb)
