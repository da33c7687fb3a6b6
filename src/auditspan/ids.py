"""Identifiers of events and transactions (RFC 9562, UUID version 7)."""

from __future__ import annotations

RANDOM_BYTES = 10
"""How many random bytes `uuid7` takes."""


def uuid7(unix_millis: int, random: bytes) -> str:
    """A version 7 UUID from a time in milliseconds and ten random bytes (RFC 9562 §5.7).

    Ids of later milliseconds sort after those of earlier ones, as text and as bytes, which keeps
    the unique index append-mostly.
    """
    number = unix_millis << 80 | int.from_bytes(random[:RANDOM_BYTES], "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    if not 0 <= number < 1 << 128:
        raise ValueError("the time does not fit into the 48 bits of a version 7 UUID")
    digits = f"{number:032x}"  # several times as quick as uuid.UUID
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
