"""Removal of the disclosures and keys of a subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, and_, delete, func, select

from auditspan.format import Subject
from auditspan.storage.dialects import PerDialect
from auditspan.storage.erasure_function import FUNCTION
from auditspan.storage.erasure_lock import LOCKS
from auditspan.storage.tables import AuditTables


class Erasable(NamedTuple):
    """The numbers of values of a subject, and of events that have some."""

    values: int
    events: int


def count_erasable(connection: Connection, tables: AuditTables, subject: Subject) -> Erasable:
    """Count the values of a subject that are not erased."""
    table = tables.disclosure.c
    counted = select(func.count(), func.count(table.event_id.distinct())).where(
        table.subject_type == subject.type, table.subject_id == subject.id
    )
    return Erasable(*connection.execute(counted).one())


def lock_subject(connection: Connection, subject: Subject) -> None:
    """Wait for transactions that store values of this subject, and keep new ones waiting.

    Raises:
        AuditConfigError: the isolation level is not READ COMMITTED.
    """
    LOCKS.of(connection).exclude(connection, subject)


def remove_disclosures(connection: Connection, tables: AuditTables, subject: Subject) -> None:
    """Remove the disclosures and keys of a subject, which `lock_subject` has locked."""
    _REMOVE.of(connection)(connection, tables, subject)


def _call(connection: Connection, tables: AuditTables, subject: Subject) -> None:
    schema = connection.schema_for_object(tables.subject_key)
    place = getattr(func, schema) if schema else func
    connection.execute(select(getattr(place, FUNCTION)(*subject)))


def _delete(connection: Connection, tables: AuditTables, subject: Subject) -> None:
    for table in (tables.disclosure, tables.subject_key):
        is_own = and_(table.c.subject_type == subject.type, table.c.subject_id == subject.id)
        connection.execute(delete(table).where(is_own))


_REMOVE = PerDialect[Callable[[Connection, AuditTables, Subject], None]](
    postgresql=_call, sqlite=_delete
)
