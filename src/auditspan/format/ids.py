"""Identifiers of events and transactions (RFC 9562, UUID version 7)."""

from __future__ import annotations

import hashlib
import uuid

RANDOM_BYTES = 10
"""The number of random bytes that `uuid7` takes."""

MAX_MILLIS = (1 << 48) - 1
"""The latest time that fits into a version 7 UUID."""


def uuid7(unix_millis: int, random: bytes) -> str:
    """Return a version 7 UUID for a time in milliseconds and ten random bytes (RFC 9562 §5.7).

    Ids from later milliseconds sort after earlier ones, as text and as bytes, which keeps inserts
    near the end of the unique index.
    """
    if not 0 <= unix_millis <= MAX_MILLIS:
        raise ValueError("the time does not fit into the 48 bits of a version 7 UUID")
    time = f"{unix_millis:012x}"  # formatted as text: several times as fast as uuid.UUID
    digits = random[:RANDOM_BYTES].hex()
    variant = "89ab"[int(digits[4], 16) & 0x3]
    return f"{time[:8]}-{time[8:]}-7{digits[1:4]}-{variant}{digits[5:8]}-{digits[8:]}"


def copy_id(row_id: int) -> str:
    """Return a UUID for the leaf of a copied row, because another leaf has the row's event id."""
    digest = hashlib.sha256(b"auditspan-copy\0%d" % row_id).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))
