"""Inserts and queries of disclosures, each encrypted with the key of its subject."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, exists, select

from auditspan.errors import KeyFileError
from auditspan.format import (
    NONCE_BYTES,
    Disclosure,
    ErasureKey,
    Subject,
    commitment_of,
    decrypt,
    disclosed_value,
    encrypt,
)
from auditspan.storage.erasure_keys import Keys, erasure_keys_of
from auditspan.storage.insert import insert_rows
from auditspan.storage.leaves import StoredText
from auditspan.storage.subject_keys import SubjectKey, subject_keys
from auditspan.storage.tables import AuditTables

_T = TypeVar("_T")
_COLUMNS = ("event_id", "sha256", "subject_type", "subject_id", "key_id", "encrypted", "term")
_LABELLED = ("actor", "on_behalf_of")
"""The members whose erasable labels are found by their terms."""

_TOGETHER = 500
"""Events in one query."""


class StoredDisclosure(NamedTuple):
    """Disclosure of an event.

    Attributes:
        sha256: the commitment under which it is stored.
        subject: the stored subject.
        text: the disclosure; None if it cannot be read, or does not match the commitment.
    """

    sha256: str
    subject: Subject
    text: str | None


def insert_disclosures(
    connection: Connection,
    tables: AuditTables,
    of_events: Sequence[tuple[str, Disclosure]],
    keys: Keys,
    *,
    created: Collection[Subject] = (),
) -> None:
    """Insert the disclosures of new events, each given with its event id.

    The keys of new subjects are encrypted with the first of `keys`; `created` are the subjects that
    this transaction has created.

    Raises:
        KeyFileError: there is no erasure key.
        AuditWriteError: the database did not insert exactly these rows.
    """
    if not keys:
        raise KeyFileError(
            "There is no erasure key, which erasable values are stored with: create it with "
            "`auditspan keys init`, give the same file to every process that writes to this "
            "database, and set AUDITSPAN_ERASURE_KEY_FILE to its path."
        )
    subjects = dict.fromkeys(one.subject for _, one in of_events)
    secrets = subject_keys(connection, tables, [*subjects], keys, created=created)
    rows = [_row(event_id, one, secrets[one.subject], keys[0]) for event_id, one in of_events]
    insert_rows(connection, tables.disclosure, _COLUMNS, rows, by_driver=True)


def read_disclosures(
    connection: Connection, tables: AuditTables, event_ids: Iterable[str]
) -> dict[str, list[StoredDisclosure]]:
    """Return the disclosures of these events, by event id."""
    disclosure, key = tables.disclosure.c, tables.subject_key.c
    names = ("event_id", "sha256", "subject_type", "subject_id")
    texts = [StoredText(disclosure[name]) for name in names]
    rest = (disclosure.encrypted, key.wrapped, StoredText(key.erasure_key_id))
    statement = select(*texts, *rest).select_from(
        tables.disclosure.outerjoin(tables.subject_key, disclosure.key_id == key.key_id)
    )
    reader = _Reader({one.key_id: one for one in erasure_keys_of(tables.event.metadata)})
    found: dict[str, list[StoredDisclosure]] = {}
    for some in _chunks(event_ids):
        for row in connection.execute(statement.where(disclosure.event_id.in_(some))):
            found.setdefault(row[0], []).append(reader.read(*row[1:]))
    return found


class _Reader:
    """Reader of encrypted disclosures, which decrypts the key of a subject once."""

    def __init__(self, keys: Mapping[str, ErasureKey]) -> None:
        self._keys = keys
        self._secrets: dict[bytes, bytes | None] = {}

    def read(  # noqa: PLR0913, PLR0917 (the columns of a row)
        self,
        sha256: str,
        subject_type: str,
        subject_id: str,
        encrypted: Any,  # noqa: ANN401 (anything after tampering)
        wrapped: Any,  # noqa: ANN401
        erasure_key_id: str | None,
    ) -> StoredDisclosure:
        """Return the disclosure of a row."""
        secret = self._secret(_as_bytes(wrapped), erasure_key_id)
        text = decrypt(secret, _as_bytes(encrypted), sha256) if secret else None
        is_genuine = text is not None and commitment_of(text) == sha256
        return StoredDisclosure(
            sha256, Subject(subject_type, subject_id), text if is_genuine else None
        )

    def _secret(self, wrapped: bytes, erasure_key_id: str | None) -> bytes | None:
        if wrapped not in self._secrets:
            key = self._keys.get(erasure_key_id or "")
            self._secrets[wrapped] = key.unwrap(wrapped) if key else None
        return self._secrets[wrapped]


def _as_bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else b""


def labelled(
    connection: Connection, tables: AuditTables, member: str, label: str, tenant: str | None
) -> str | None:
    """Return the id of the `actor` or `on_behalf_of` with this erasable label; the newest one.

    With a tenant, only its events count.
    """
    terms = [key.term(member, label) for key in erasure_keys_of(tables.event.metadata)]
    if not terms:
        return None
    disclosure, key, event = tables.disclosure.c, tables.subject_key.c, tables.event.c
    found = (
        select(disclosure.subject_id)
        .join_from(tables.disclosure, tables.subject_key, disclosure.key_id == key.key_id)
        .where(disclosure.term.in_(terms))
        .order_by(key.created_at.desc())
        .limit(1)
    )
    if tenant is not None:
        own = exists().where(event.event_id == disclosure.event_id, event.tenant == tenant)
        found = found.where(own)
    return connection.execute(found).scalar()


def _row(event_id: str, one: Disclosure, key: SubjectKey, erasure_key: ErasureKey) -> list[object]:
    encrypted = encrypt(key.secret, one.text, one.sha256, os.urandom(NONCE_BYTES))
    member, name = one.path[0], one.path[-1]
    label = str(disclosed_value(one.text)) if member in _LABELLED and name == "label" else None
    term = None if label is None else erasure_key.term(member, label)
    return [event_id, one.sha256, *one.subject, key.key_id, encrypted, term]


def _chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    every = list(items)
    return (every[start : start + _TOGETHER] for start in range(0, len(every), _TOGETHER))
