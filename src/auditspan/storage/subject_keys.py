"""Keys of subjects, which their disclosures are encrypted with."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import Connection, Dialect, Table

from auditspan.format import KEY_BYTES, ErasureKey, Subject
from auditspan.storage.driver import fetch, marked
from auditspan.storage.erasure_lock import LOCKS
from auditspan.storage.insert import insert_rows
from auditspan.storage.schemas import dialect_of
from auditspan.storage.tables import AuditTables

_COLUMNS = ("key_id", "subject_type", "subject_id", "wrapped", "erasure_key_id")

_TOGETHER = 500
"""Subjects in one query."""


class SubjectKey(NamedTuple):
    """Key of a subject, with its id."""

    key_id: str
    secret: bytes


def subject_keys(
    connection: Connection,
    tables: AuditTables,
    subjects: Sequence[Subject],
    keys: Sequence[ErasureKey],
    *,
    created: Collection[Subject] = (),
) -> dict[Subject, SubjectKey]:
    """Return the key of each subject; create those that are missing, under the first of `keys`.

    A lock keeps an erasure from removing a key between here and the commit.

    Args:
        connection: the connection, in a transaction that has written.
        tables: the audit tables.
        subjects: the subjects, each once.
        keys: the erasure keys.
        created: subjects that this transaction has created. They get a new key without a query; a
            subject may have several.
    """
    sees_newest = LOCKS.of(connection).share(connection, subjects)
    older = [one for one in subjects if one not in created] if sees_newest else []
    found = dict(_existing(connection, tables, older, keys))
    missing = [one for one in subjects if one not in found]
    return found | _create(connection, tables, missing, keys[0])


def _existing(
    connection: Connection,
    tables: AuditTables,
    subjects: Sequence[Subject],
    keys: Sequence[ErasureKey],
) -> Iterator[tuple[Subject, SubjectKey]]:
    known = {one.key_id: one for one in keys}
    for start in range(0, len(subjects), _TOGETHER):
        some = subjects[start : start + _TOGETHER]
        query = _query(tables.subject_key, dialect_of(connection), len(some))
        for type_, id_, key_id, wrapped, erasure_key_id in fetch(
            connection, query, tuple(name for one in some for name in one)
        ):
            erasure_key = known.get(erasure_key_id)
            secret = erasure_key.unwrap(bytes(wrapped)) if erasure_key else None
            if secret is not None:
                yield Subject(type_, id_), SubjectKey(key_id, secret)


@lru_cache(maxsize=64)
def _query(table: Table, dialect: Dialect, number: int) -> str:
    name = dialect.identifier_preparer.format_table(table)
    wanted = " OR ".join(["subject_type = ? AND subject_id = ?"] * number)
    return marked(
        dialect,
        "SELECT subject_type, subject_id, CAST(key_id AS TEXT), wrapped, erasure_key_id "  # noqa: S608 (a quoted name)
        f"FROM {name} WHERE {wanted}",
    )


def _create(
    connection: Connection,
    tables: AuditTables,
    subjects: Sequence[Subject],
    erasure_key: ErasureKey,
) -> dict[Subject, SubjectKey]:
    made = {one: SubjectKey(str(uuid.uuid4()), os.urandom(KEY_BYTES)) for one in subjects}
    rows: list[list[object]] = [
        [key.key_id, *subject, erasure_key.wrap(key.secret), erasure_key.key_id]
        for subject, key in made.items()
    ]
    insert_rows(connection, tables.subject_key, _COLUMNS, rows, by_driver=True)
    return made
