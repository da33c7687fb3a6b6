"""Row images: every value of both databases, read without losing anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditspan.format import Number, Pairs
from auditspan.mapping.row_image import Image, parse_image


@pytest.mark.parametrize("number", ["1", "-0.0", "1.00", "9e999", "1e400", "12345678901234567890"])
def test_number_keeps_its_text(number: str) -> None:
    """A number is read as the text that the database has written."""
    value = parse_image(f'{{"n":{number}}}').values["n"]

    assert Number(number) == value


def test_number_differs_from_its_text() -> None:
    """A JSON value that changes from the text "1" to the number 1 has changed."""
    old = parse_image('{"doc":{"a":["1"]}}', tags=False).values
    new = parse_image('{"doc":{"a":[1]}}', tags=False).values

    assert old != new


@given(st.text())
def test_string_is_read_as_it_was(text: str) -> None:
    """A JSON string is read as plain text, never as a number."""
    value = parse_image(json.dumps({"s": text})).values["s"]

    assert (str, text) == (type(value), value)


@given(st.binary())
def test_blob_is_read_as_bytes(blob: bytes) -> None:
    """A tagged blob is read as its bytes."""
    assert blob == parse_image(f'{{"b":{{"$blob":"{blob.hex().upper()}"}}}}').values["b"]


@pytest.mark.parametrize(
    ("staged", "text"),
    [(b"a\\u0000b", "a\0b"), ("é".encode(), "é"), (b"\xffa", "\udcffa"), (b"", "")],
)
def test_bytes_are_read_as_text(staged: bytes, text: str) -> None:
    """An image of bytes keeps U+0000, and bytes that are not UTF-8 as surrogates."""
    assert text == parse_image(b'{"s":"' + staged + b'"}').values["s"]


def test_json_that_looks_tagged_is_kept_without_tags() -> None:
    """Without tags, an object of a JSON column is kept even if it looks like a tagged value."""
    document = '{"$blob":"FF"}'
    value = parse_image(f'{{"doc":{document}}}', tags=False).values["doc"]

    assert json.loads(document) == value


def test_column_named_like_a_tag_is_a_column() -> None:
    """A table whose only column is called `$blob` has an image like any other."""
    assert {"$blob": "FF"} == parse_image('{"$blob":"FF"}').values


def test_duplicate_keys_are_kept() -> None:
    """A JSON object that repeats a key is read as the list of its pairs."""
    value = parse_image('{"doc":{"a":1,"a":2}}', tags=False).values["doc"]

    assert (Pairs, [("a", Number("1")), ("a", Number("2"))]) == (type(value), value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [('{"id":1,"big":null,"doc":null}', {"id": Number("1")}), ('{"id":1}', {"id": Number("1")})],
)
def test_notes_win_over_values(values: str, expected: dict[str, Any]) -> None:
    """A column that the notes name has no value, whether or not the first object has it."""
    long = {"doc": {"$len": 70000, "$sha256": "ab"}}
    notes = json.dumps({"same": ["big"], "long": long})
    image = parse_image(f"{values}\n{notes}")

    assert Image(values=expected, same=frozenset({"big"}), long=long) == image


def test_length_in_notes_is_an_integer() -> None:
    """The length of a value that was not staged is an integer, not text."""
    image = parse_image('{}\n{"long":{"doc":{"$len":70000,"$sha256":"ab"}}}')

    assert {"doc": {"$len": 70000, "$sha256": "ab"}} == image.long


def test_image_without_notes_leaves_nothing_out() -> None:
    """An image of one object has no unchanged and no long columns."""
    assert Image(values={"a": None, "b": True}) == parse_image('{"a":null,"b":true}')


@pytest.mark.parametrize("text", ["", "[]", "1", '{"a":1', '{"a":1} {}', '{"a":1}\n[]', "{}\n"])
def test_invalid_image_is_refused(text: str) -> None:
    """Text that is not an image raises ValueError."""
    with pytest.raises(ValueError, match=r"invalid image|Expecting|delimiter"):
        parse_image(text)
