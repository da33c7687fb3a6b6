"""Inserts of disclosures, each encrypted with the key of its subject.

On PostgreSQL, those of a small transaction take one statement, which also inserts the keys of new
subjects. Keys that the process remembers may have been erased since, so the statement leaves out
disclosures whose key is not stored; they are inserted again with a new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect

from auditspan.errors import KeyFileError
from auditspan.format import (
    NONCE_BYTES,
    Disclosure,
    ErasureKey,
    Subject,
    disclosed_value,
)
from auditspan.storage.dialects import PerDialect
from auditspan.storage.driver import fetch, marked
from auditspan.storage.erasure_keys import Keys
from auditspan.storage.insert import TOGETHER, insert_rows
from auditspan.storage.known_keys import known_keys
from auditspan.storage.schemas import dialect_of
from auditspan.storage.subject_keys import COLUMNS as KEY_COLUMNS
from auditspan.storage.subject_keys import FoundKeys, SubjectKey, subject_keys
from auditspan.storage.tables import AuditTables

_Given = Sequence[tuple[str, Disclosure]]
"""Disclosures, each with its event id."""

_COLUMNS = ("event_id", "sha256", "subject_type", "subject_id", "key_id", "encrypted", "term")
_TYPES = ("uuid", "text", "text", "text", "uuid", "bytea", "text")
_KEY_ID = _COLUMNS.index("key_id")
_SUBJECT = slice(_COLUMNS.index("subject_type"), _KEY_ID)
_LABELLED = ("actor", "on_behalf_of")
"""The members whose erasable labels are found by their terms."""


def insert_disclosures(
    connection: Connection,
    tables: AuditTables,
    of_events: _Given,
    keys: Keys,
    *,
    created: Collection[Subject] = (),
    sees_newest: bool = True,
) -> None:
    """Insert the disclosures of new events, each given with its event id.

    The transaction MUST hold the lock of their subjects.

    Args:
        connection: the connection.
        tables: the audit tables.
        of_events: the disclosures.
        keys: the erasure keys; the first of them wraps new keys.
        created: the subjects that this transaction has created, which have no key yet.
        sees_newest: whether a query sees what an erasure has just committed; otherwise every
            subject gets a new key.

    Raises:
        KeyFileError: `keys` is empty.
        AuditWriteError: the database did not insert exactly these rows.
    """
    if not keys:
        raise KeyFileError(
            "Erasable values cannot be stored without an erasure key: create one with "
            "`auditspan keys init`, give the same file to every process that writes to this "
            "database, and set AUDITSPAN_ERASURE_KEY_FILE to its path."
        )
    new = {*created} if sees_newest else {one.subject for _, one in of_events}
    insert = _INSERT_FEW.of(connection) if len(of_events) <= TOGETHER else _insert_many
    insert(connection, tables, of_events, keys, new)


def _insert_many(
    connection: Connection, tables: AuditTables, of_events: _Given, keys: Keys, new: set[Subject]
) -> None:
    subjects = [*dict.fromkeys(one.subject for _, one in of_events)]
    found = subject_keys(connection, tables, subjects, keys, new=new)
    insert_rows(connection, tables.subject_key, KEY_COLUMNS, found.rows, by_driver=True)
    rows = _rows(of_events, found, keys[0])
    insert_rows(connection, tables.disclosure, _COLUMNS, rows, by_driver=True)


def _insert_few(
    connection: Connection, tables: AuditTables, of_events: _Given, keys: Keys, new: set[Subject]
) -> None:
    subjects = [*dict.fromkeys(one.subject for _, one in of_events)]
    memory = known_keys(connection, tables, keys[0])
    known = memory.find(subjects)
    found = subject_keys(connection, tables, subjects, keys, known=known, new=new)
    lost = _insert_checked(connection, tables, _rows(of_events, found, keys[0]), found)
    memory.remember({one: key for one, key in found.keys.items() if one not in known})
    if lost:
        memory.forget(lost)
        again = [one for one in of_events if one[1].subject in lost]
        _insert_many(connection, tables, again, keys, lost)


_INSERT_FEW = PerDialect[Callable[[Connection, AuditTables, _Given, Keys, set[Subject]], None]](
    postgresql=_insert_few, sqlite=_insert_many
)


def _insert_checked(
    connection: Connection, tables: AuditTables, rows: list[list[Any]], found: FoundKeys
) -> set[Subject]:
    """Insert the disclosures whose keys are stored, and new keys; return the other subjects."""
    statement = _checked_sql(tables, dialect_of(connection), len(rows), len(found.rows))
    values = tuple(chain.from_iterable([*found.rows, *rows]))
    stored = {str(key_id) for (key_id,) in fetch(connection, statement, values)}
    return {Subject(*row[_SUBJECT]) for row in rows if row[_KEY_ID] not in stored}


@lru_cache(maxsize=256)
def _checked_sql(tables: AuditTables, dialect: Dialect, rows: int, new_keys: int) -> str:
    table, keys = map(
        dialect.identifier_preparer.format_table, (tables.disclosure, tables.subject_key)
    )
    first = ", ".join(f"CAST(? AS {type_})" for type_ in _TYPES)
    values = ", ".join([f"({first})", *[_marks(_COLUMNS)] * (rows - 1)])
    columns = ", ".join(_COLUMNS)
    # A scalar query, which is looked up by the primary key. A plan that was made for an empty table
    # would join EXISTS by reading the whole table, and is kept with the prepared statement.
    is_stored = f"(SELECT k.key_id FROM {keys} k WHERE k.key_id = d.key_id) IS NOT NULL"  # noqa: S608
    begun = ""
    if new_keys:
        of_keys = ", ".join([_marks(KEY_COLUMNS)] * new_keys)
        begun = (
            f"WITH new AS (INSERT INTO {keys} ({', '.join(KEY_COLUMNS)}) VALUES {of_keys} "  # noqa: S608
            "RETURNING key_id) "
        )
        is_stored += " OR d.key_id IN (SELECT key_id FROM new)"
    return marked(
        dialect,
        f"{begun}INSERT INTO {table} ({columns}) SELECT {columns} FROM (VALUES {values}) "  # noqa: S608
        f"d ({columns}) WHERE {is_stored} RETURNING key_id",
    )


def _marks(columns: Sequence[str]) -> str:
    return f"({', '.join('?' * len(columns))})"


def _rows(of_events: _Given, found: FoundKeys, erasure_key: ErasureKey) -> list[list[Any]]:
    return [
        _row(event_id, one, found.keys[one.subject], erasure_key) for event_id, one in of_events
    ]


def _row(event_id: str, one: Disclosure, key: SubjectKey, erasure_key: ErasureKey) -> list[object]:
    encrypted = key.cipher.encrypt(one.text, one.sha256, os.urandom(NONCE_BYTES))
    member, name = one.path[0], one.path[-1]
    label = str(disclosed_value(one.text)) if member in _LABELLED and name == "label" else None
    term = None if label is None else erasure_key.term(member, label)
    return [event_id, one.sha256, *one.subject, key.key_id, encrypted, term]
