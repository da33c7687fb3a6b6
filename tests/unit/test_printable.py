"""Text of others is printed with escapes for whatever moves the cursor or the eye."""

from __future__ import annotations

import json
import sys

import pytest

from auditspan.format.printable import printable, printable_json

ESCAPED = {
    "\x1b[2J": r"\x1b[2J",
    "\x00\x07\x08\x7f": r"\x00\x07\x08\x7f",
    "\x9b31m\x85": r"\x9b31m\x85",
    "a\nb\r\tc": r"a\nb\r\tc",
    "\u202egpj.exe\u2066\u200f": r"\u202egpj.exe\u2066\u200f",
    "\u2028\u2029\u200b\xad\ufeff": r"\u2028\u2029\u200b\xad\ufeff",
    "\xa0\u3000": r"\xa0\u3000",
    "\ud800": r"\ud800",
    "\U000e0041": r"\U000e0041",
}
UNCHANGED = ["", "plain text", "Zoë · Łódź", "張 偉", "é e\u0301", "😀", "\\x1b"]


@pytest.mark.parametrize(("text", "expected"), ESCAPED.items())
def test_control_and_format_characters_are_escaped(text: str, expected: str) -> None:
    """C0, C1, DEL, line ends, bidirectional and invisible characters become visible."""
    assert expected == printable(text)


@pytest.mark.parametrize("text", UNCHANGED)
def test_readable_text_is_unchanged(text: str) -> None:
    """Letters, marks and symbols of any script are printed as they are."""
    assert text == printable(text)


@pytest.mark.parametrize("text", [*ESCAPED, *UNCHANGED])
@pytest.mark.parametrize("indent", [None, 2])
def test_printable_json_is_the_same_value(text: str, indent: int | None) -> None:
    """JSON that is printed can be read back, and holds nothing but printable lines."""
    value = {text: [text, 1, None]}
    written = printable_json(value, indent=indent)
    assert value == json.loads(written)
    assert written.split("\n") == [printable(line) for line in written.split("\n")]


def test_every_character_is_escaped_or_printable() -> None:
    """No character of Unicode gets through that Python calls unprintable."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert printable(everything).isprintable()
