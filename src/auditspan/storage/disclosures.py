"""Queries of disclosures, each encrypted with the key of its subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, exists, select

from auditspan.format import (
    KEY_BYTES,
    ErasureKey,
    Subject,
    SubjectCipher,
    commitment_of,
)
from auditspan.storage.column_forms import StoredText
from auditspan.storage.erasure_keys import erasure_keys_of
from auditspan.storage.tables import AuditTables

_T = TypeVar("_T")

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
        self._ciphers: dict[bytes, SubjectCipher | None] = {}

    def read(  # noqa: PLR0917 (the columns of a row)
        self,
        sha256: str,
        subject_type: str,
        subject_id: str,
        encrypted: object,
        wrapped: object,
        erasure_key_id: str | None,
    ) -> StoredDisclosure:
        """Return the disclosure of a row."""
        cipher = self._cipher(_as_bytes(wrapped), erasure_key_id)
        text = cipher.decrypt(_as_bytes(encrypted), sha256) if cipher else None
        is_genuine = text is not None and commitment_of(text) == sha256
        return StoredDisclosure(
            sha256, Subject(subject_type, subject_id), text if is_genuine else None
        )

    def _cipher(self, wrapped: bytes, erasure_key_id: str | None) -> SubjectCipher | None:
        if wrapped not in self._ciphers:
            key = self._keys.get(erasure_key_id or "")
            secret = key.unwrap(wrapped) if key else None
            is_whole = len(secret or b"") == KEY_BYTES
            self._ciphers[wrapped] = SubjectCipher(secret) if secret and is_whole else None
        return self._ciphers[wrapped]


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


def _chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    every = list(items)
    return (every[start : start + _TOGETHER] for start in range(0, len(every), _TOGETHER))
