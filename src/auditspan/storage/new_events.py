"""Inserts of audit rows, with the disclosures of their erasable values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from auditspan.format import COLUMNS, AuditRecord, Disclosure, MacKey, Subject
from auditspan.storage.driver import fetch, marked
from auditspan.storage.erasure_keys import KeySource, erasure_keys_of, keys_of
from auditspan.storage.erasure_lock import LOCKS
from auditspan.storage.insert import insert_and_query, insert_rows
from auditspan.storage.new_disclosures import insert_disclosures
from auditspan.storage.tables import AuditTables

_COLUMNS = (*COLUMNS, "body", "mac", "mac_key_id")
"""The columns that are inserted; the database sets the others."""


def insert_records(
    connection: Connection,
    tables: AuditTables,
    records: Iterable[AuditRecord],
    key: MacKey | None,
    erasure_keys: KeySource | None = None,
    *,
    by_driver: bool = False,
) -> None:
    """Insert the rows of these records in this order, with as few statements as possible.

    Without `erasure_keys`, those of the metadata are used for erasable values. `by_driver` is
    that of `insert_rows`.
    """
    rows, disclosures, created = [], list[tuple[str, Disclosure]](), set[Subject]()
    for record in records:
        rows.append(_row(record, key))
        if record.disclosures:
            disclosures += ((record.event_id, one) for one in record.disclosures)
            created |= _created(record)
    if not disclosures:
        insert_rows(connection, tables.event, _COLUMNS, rows, by_driver=by_driver)
        return
    subjects = {one.subject for _, one in disclosures}
    sees_newest = _insert_locking(connection, tables, rows, subjects, by_driver=by_driver)
    own = erasure_keys_of(tables.event.metadata) if erasure_keys is None else erasure_keys
    insert_disclosures(
        connection, tables, disclosures, keys_of(own), created=created, sees_newest=sees_newest
    )


def _insert_locking(
    connection: Connection,
    tables: AuditTables,
    rows: list[list[Any]],
    subjects: set[Subject],
    *,
    by_driver: bool,
) -> bool:
    """Insert rows, and keep erasures of these subjects waiting; return what the lock sees."""
    lock, query = LOCKS.of(connection), LOCKS.of(connection).query(subjects)
    if query is not None and by_driver:
        return lock.sees_newest(insert_and_query(connection, tables.event, _COLUMNS, rows, query))
    insert_rows(connection, tables.event, _COLUMNS, rows, by_driver=by_driver)
    if query is None:
        return lock.sees_newest(None)
    statement, parameter = query
    answer = fetch(connection, marked(connection.dialect, statement), (parameter,))
    return lock.sees_newest(answer[0][0])


def _created(record: AuditRecord) -> set[Subject]:
    """Return the subject that the target of a record is, if the record says that it is new."""
    target = record.target
    if target is None or target.id is None or not record.action.endswith(".create"):
        return set()
    return {Subject(target.type, target.id)}


def _row(record: AuditRecord, key: MacKey | None) -> list[Any]:
    """Return the values of a record's row, in the order of `_COLUMNS`."""
    body = record.body()
    actor, target = record.actor, record.target
    return [
        record.event_id,
        record.occurred_at,
        actor.type,
        actor.id,
        record.action,
        record.outcome,
        target.type if target else None,
        target.id if target else None,
        record.trace_id,
        record.span_id,
        record.tx_id,
        record.tenant,
        body,
        key.sign(body) if key else None,
        key.key_id if key else None,
    ]
