"""Row images: the text staged by triggers, parsed losslessly.

    {"id": 7, "name": "kim", "photo": {"$blob": "FFD8"}}
    {"same": ["notes"], "long": {"report": {"$len": 70000, "$sha256": "..."}}}

The first object has the values of one row by column. The second, after a newline, is optional: it
lists omitted columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias


class Number(str):
    """Number exactly as written by the database, trailing zeros included; never equal to a str."""

    __slots__ = ()

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        """Check whether the other is a number with the same digits."""
        return type(other) is Number and str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        """Check whether the other is not a number, or has different digits."""
        return type(other) is not Number or str.__ne__(self, other)


class Pairs(list[tuple[str, Any]]):
    """JSON object with duplicate keys."""


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


def parse_image(text: str, *, tags: bool = True) -> Image:
    """Parse a row image.

    Args:
        text: the text staged by a trigger.
        tags: parse `{"$blob": "HEX"}` as bytes and `{"$text": "HEX"}` as text
            (`AuditDialect.IMAGES_ARE_TAGGED`); otherwise an object is the value of a JSON column.

    Raises:
        ValueError: the text is not an image.
    """
    values, end = _decode(text)
    if type(values) is not dict:
        raise ValueError("invalid image: expected a JSON object without duplicate keys")
    if tags and '{"$' in text:
        values = {n: _untagged(v) if type(v) is dict else v for n, v in values.items()}
    return Image(values=values) if end == len(text) else _without_noted(values, text[end:])


def parse_json(text: str) -> Raw:
    """Parse a JSON document the same way as the values of an image.

    Raises:
        ValueError: the text is not JSON.
    """
    document, end = _decode(text.strip())
    if end != len(text.strip()):
        raise ValueError("invalid JSON: text after the document")
    found: Raw = document
    return found


def parse_value(text: str, *, tags: bool) -> Raw:
    """Parse the JSON text of one value of an image; `tags` as in `parse_image`.

    Raises:
        ValueError: the text is not JSON.
    """
    value = parse_json(text)
    return _untagged(value) if tags else value


def _without_noted(values: dict[str, Any], text: str) -> Image:
    notes = json.loads(text)
    if not text.startswith("\n") or not isinstance(notes, dict):
        raise ValueError("invalid image: expected a newline and an object of notes")
    same, long = frozenset(notes.get("same", ())), notes.get("long", {})
    kept = {name: value for name, value in values.items() if name not in same | long.keys()}
    return Image(values=kept, same=same, long=long)


def _untagged(value: Raw) -> Raw:
    if type(value) is not dict or len(value) != 1:
        return value
    (tag, digits), *_ = value.items()
    read = _TAGS.get(tag)
    return read(digits) if read and type(digits) is str else value


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-8", "surrogateescape")


_TAGS: dict[str, Callable[[str], Raw]] = {"$blob": bytes.fromhex, "$text": _text}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Pairs:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Pairs(pairs)


_decode = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=Number
).raw_decode
