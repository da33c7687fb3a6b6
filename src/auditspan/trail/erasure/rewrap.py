"""Encryption of subjects' keys with a new erasure key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine, select, update

from auditspan.format import ErasureKey
from auditspan.storage import AuditTables

_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Rewrapped:
    """Result of a run.

    Attributes:
        rewrapped: the number of keys that are now encrypted with the first erasure key.
        unreadable: the number of keys that no given erasure key decrypts; they are unchanged.
    """

    rewrapped: int
    unreadable: int

    def to_dict(self) -> dict[str, int]:
        """Return the JSON form."""
        return asdict(self)


def rewrap_subject_keys(
    engine: Engine, tables: AuditTables, keys: Sequence[ErasureKey]
) -> Rewrapped:
    """Encrypt the keys of all subjects with the first of these erasure keys.

    Each batch is a transaction of its own, and keys that are done are skipped, so that an
    interrupted run is resumed by the next one. A key that is erased meanwhile stays erased.
    The connected role MUST be the owner of the tables, or otherwise allowed to update them.
    """
    newest, *_ = keys
    done, unreadable, last = 0, 0, ""
    while True:
        with engine.begin() as connection:
            batch = _batch(connection, tables, newest, last)
            written = sum(_rewrap(connection, tables, keys, *one) for one in batch)
        done, unreadable = done + written, unreadable + len(batch) - written
        if len(batch) < _BATCH:
            return Rewrapped(rewrapped=done, unreadable=unreadable)
        last = batch[-1][0]


def _batch(
    connection: Connection, tables: AuditTables, newest: ErasureKey, last: str
) -> list[tuple[str, bytes, str]]:
    key = tables.subject_key.c
    page = select(key.key_id, key.wrapped, key.erasure_key_id).order_by(key.key_id).limit(_BATCH)
    page = page.where(key.erasure_key_id != newest.key_id)
    if last:
        page = page.where(key.key_id > last)
    return [(str(row[0]), bytes(row[1]), row[2]) for row in connection.execute(page)]


def _rewrap(  # noqa: PLR0917 (the columns of a row)
    connection: Connection,
    tables: AuditTables,
    keys: Sequence[ErasureKey],
    key_id: str,
    wrapped: bytes,
    erasure_key_id: str,
) -> int:
    """Update one row unless it was erased, and return the number of readable keys."""
    known = {one.key_id: one for one in keys}
    secret = known[erasure_key_id].unwrap(wrapped) if erasure_key_id in known else None
    if secret is None:
        return 0
    key = tables.subject_key
    values = {"wrapped": keys[0].wrap(secret), "erasure_key_id": keys[0].key_id}
    connection.execute(update(key).where(key.c.key_id == key_id).values(values))
    return 1
