"""Protobuf's wire format, as far as log records need it.

Filling OpenTelemetry's messages takes twice as long, because every attribute is an object of its
own, and most attributes of a trail recur from record to record. Their official encoders are the
specification: a test compares every byte (`tests/unit/test_encoding.py`).
"""

from __future__ import annotations

from functools import lru_cache

_ONE_BYTE = 0x80
_MAX = (1 << 64) - 1


def varint(number: int) -> bytes:
    """Return an integer of at most 64 bits, negative ones in two's complement."""
    number &= _MAX
    encoded = bytearray()
    while number >= _ONE_BYTE:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@lru_cache(maxsize=4096)
def header(tag: bytes, length: int) -> bytes:
    """Return what precedes a length-delimited field: its tag, and its length."""
    return tag + varint(length)


def delimited(tag: bytes, payload: bytes) -> bytes:
    """Return a length-delimited field."""
    return header(tag, len(payload)) + payload


def fixed64(number: int) -> bytes:
    """Return an unsigned integer of a fixed size.

    Raises:
        OverflowError: it is negative, or has more than 64 bits.
    """
    return number.to_bytes(8, "little")


class Attribute:
    """Attribute of a log record: the encoder of a `KeyValue` with this key.

    Args:
        key: the name of the attribute.
        tag: the tag of the field of the owner that holds its attributes.
    """

    def __init__(self, key: str, tag: bytes) -> None:
        self._tag = tag
        self._key = delimited(b"\x0a", key.encode())

    def text(self, value: str | None) -> bytes:
        """Return the attribute with this text; nothing for None.

        Raises:
            AttributeError: the value is not text.
            UnicodeEncodeError: the text has a lone surrogate.
        """
        if value is None:
            return b""
        data = value.encode()
        return self._pair(header(b"\x0a", len(data)) + data)

    def number(self, value: int) -> bytes:
        """Return the attribute with this integer."""
        return self._pair(b"\x18" + varint(value))

    def _pair(self, value: bytes) -> bytes:
        pair = self._key + header(b"\x12", len(value)) + value
        return header(self._tag, len(pair)) + pair
