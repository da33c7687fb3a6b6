"""Keys of subjects, which their disclosures are encrypted with."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table

from auditspan.format import KEY_BYTES, ErasureKey, Subject, SubjectCipher
from auditspan.storage.driver import fetch, marked
from auditspan.storage.schemas import dialect_of
from auditspan.storage.tables import AuditTables

COLUMNS = ("key_id", "subject_type", "subject_id", "wrapped", "erasure_key_id")
"""The columns that are inserted."""

_TOGETHER = 500
"""Subjects in one query."""


@dataclass(frozen=True)
class SubjectKey:
    """Key of a subject, with its id."""

    key_id: str
    secret: bytes = field(repr=False)

    @cached_property
    def cipher(self) -> SubjectCipher:
        """The cipher under this key, which is remembered with it."""
        return SubjectCipher(self.secret)


@dataclass(frozen=True, kw_only=True)
class FoundKeys:
    """Keys of subjects.

    Attributes:
        keys: the key of each subject.
        rows: the rows of those that are new and must be inserted.
    """

    keys: dict[Subject, SubjectKey]
    rows: list[list[Any]]


def subject_keys(
    connection: Connection,
    tables: AuditTables,
    subjects: Sequence[Subject],
    keys: Sequence[ErasureKey],
    *,
    known: Mapping[Subject, SubjectKey] | None = None,
    new: Collection[Subject] = (),
) -> FoundKeys:
    """Return the key of each subject; make new ones under the first of `keys`.

    The caller MUST hold the lock, which keeps an erasure from removing a key before the commit.

    Args:
        connection: the connection, in a transaction that has written.
        tables: the audit tables.
        subjects: the subjects, each once.
        keys: the erasure keys.
        known: keys that need no query.
        new: subjects that get a new key without a query; a subject may have several.
    """
    found = {one: key for one, key in (known or {}).items() if one not in new}
    sought = [one for one in subjects if one not in found and one not in new]
    found.update(_existing(connection, tables, sought, keys))
    made = {
        one: SubjectKey(str(uuid.uuid4()), os.urandom(KEY_BYTES))
        for one in subjects
        if one not in found
    }
    rows: list[list[Any]] = [
        [key.key_id, *subject, keys[0].wrap(key.secret), keys[0].key_id]
        for subject, key in made.items()
    ]
    return FoundKeys(keys=found | made, rows=rows)


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
