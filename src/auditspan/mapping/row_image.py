"""Row images: the text staged by triggers, parsed losslessly.

    {"id": 7, "name": "kim", "photo": {"$blob": "FFD8"}}
    {"same": ["notes"], "long": {"report": {"$len": 70000, "$sha256": "..."}}}

The first object has the values of one row by column. The second, after a newline, is optional: it
lists omitted columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from auditspan.format import Number, Pairs, decode_document, parse_document

Raw: TypeAlias = "str | Number | bytes | bool | list[Raw] | dict[str, Raw] | Pairs | None"
"""A value of an image."""


_NONE: Mapping[str, Mapping[str, Any]] = {}
"""The shared default for `long`; never modified."""


class Image(NamedTuple):
    """Values of one row.

    Attributes:
        values: the value of each staged column.
        same: the columns omitted because an update did not change them.
        long: the `$len` and `$sha256` of the columns that were too long to stage.
    """

    values: Mapping[str, Raw]
    same: frozenset[str] = frozenset()
    long: Mapping[str, Mapping[str, Any]] = _NONE


def parse_image(staged: str | bytes, *, tags: bool = True) -> Image:
    """Parse a row image.

    Args:
        staged: what a trigger has staged; the bytes that are not UTF-8 are read as surrogates.
        tags: parse `{"$blob": "HEX"}` as bytes (`AuditDialect.IMAGES_ARE_TAGGED`); otherwise an
            object is the value of a JSON column.

    Raises:
        ValueError: the text is not an image.
    """
    text = _text(staged)
    values, end = decode_document(text)
    if type(values) is not dict:
        raise ValueError("invalid image: expected a JSON object without duplicate keys")
    if tags and '{"$' in text:
        values = {n: _untagged(v) if type(v) is dict else v for n, v in values.items()}
    return Image(values=values) if end == len(text) else _without_noted(values, text[end:])


def parse_value(staged: str | bytes, *, tags: bool) -> Raw:
    """Parse the JSON text of one value of an image, as `parse_image`.

    Raises:
        ValueError: the text is not JSON.
    """
    value: Any = parse_document(_text(staged))
    return _untagged(value) if tags else value


def _without_noted(values: dict[str, Any], text: str) -> Image:
    notes = json.loads(text)
    if not text.startswith("\n") or not isinstance(notes, dict):
        raise ValueError("invalid image: expected a newline and an object of notes")
    same, long = frozenset(notes.get("same", ())), notes.get("long", {})
    kept = {name: value for name, value in values.items() if name not in same | long.keys()}
    return Image(values=kept, same=same, long=long)


def _text(staged: str | bytes) -> str:
    return staged.decode("utf-8", "surrogateescape") if isinstance(staged, bytes) else staged


def _untagged(value: Raw) -> Raw:
    if type(value) is dict and len(value) == 1 and type(digits := value.get(_BLOB)) is str:
        return bytes.fromhex(digits)
    return value


_BLOB = "$blob"
"""The tag of bytes in hexadecimal digits."""
