"""JSON documents that a body has as text, parsed and written without loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias, cast


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


class Pairs(list[tuple[str, "Document"]]):
    """JSON object with duplicate keys."""


Document: TypeAlias = (
    "str | Number | int | bool | list[Document] | dict[str, Document] | Pairs | None"
)
"""A JSON value with numbers as they are written."""


def parse_document(text: str) -> Document:
    """Parse a JSON document.

    Raises:
        ValueError: the text is not JSON.
    """
    stripped = text.strip()
    document: Document
    document, end = decode_document(stripped)
    if end != len(stripped):
        raise ValueError("invalid JSON: text after the document")
    return document


def document_text(value: Document) -> str:
    """Return the text of a document in ASCII, with the members sorted by name."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Pairs):
        return _object_text(value)
    if isinstance(value, dict):
        return _object_text(sorted(value.items()))
    if isinstance(value, list):
        items = cast("list[Document]", value)
        return f"[{','.join(map(document_text, items))}]"
    return json.dumps(value)


def _object_text(pairs: list[tuple[str, Document]]) -> str:
    members = (f"{json.dumps(name)}:{document_text(item)}" for name, item in pairs)
    return f"{{{','.join(members)}}}"


def _object(pairs: list[tuple[str, Document]]) -> dict[str, Document] | Pairs:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Pairs(pairs)


decode_document: Callable[[str], tuple[Any, int]] = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=Number
).raw_decode
"""Parse the document at the beginning of a text; the second value is the place after it."""
