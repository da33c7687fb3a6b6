"""The strict parser: what it takes means one thing, and everything else is refused quickly."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auditspan_service.api.strict_json import MAX_DEPTH, StrictJsonError, parse
from support.patience import promised

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda children: st.lists(children) | st.dictionaries(_TEXT, children),
    max_leaves=20,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_takes_what_json_can_say(value: Any, escaped: bool, indent: int | None) -> None:  # noqa: FBT001
    """Every value comes back as it was written, escaped or not, on one line or on many."""
    text = json.dumps(value, ensure_ascii=escaped, indent=indent)
    assert parse(text.encode()) == value


@given(st.binary())
@example(b'{"a": "\\')
@example(b'"\\ud800\\udc00"')
@example(b"\xed\xa0\x80")
@example(b"[1e400]")
@example(b"-0")
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a value that can be stored, or a StrictJsonError; nothing else happens."""
    try:
        value = parse(data)
    except StrictJsonError as error:
        assert str(error).endswith(".")  # noqa: PT017 (one of the two outcomes)
    else:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@given(st.text(alphabet='[]{}",:\\ a1', max_size=60))
def test_takes_no_more_than_python(text: str) -> None:
    """The strict parser refuses everything that Python's parser refuses."""
    try:
        parse(text.encode())
    except StrictJsonError:
        return
    json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The body is empty; it must be JSON."),
        ("nope", "The body is not JSON (Expecting value: line 1, column 1)."),
        ('{"a":\n1,}', None),
        ("NaN", "NaN is not a valid JSON number."),
        ("[-Infinity]", "-Infinity is not a valid JSON number."),
        ("1e999", "A number is too large for a double."),
        ("9" * 41, "An integer has more than 40 digits."),
        ('{"a": 1, "a": 2}', "An object contains the same name twice."),
        ('{"a": {"b": 1, "\\u0062": 2}}', "An object contains the same name twice."),
        ('"\\u0000"', "A string contains a NUL character or a lone surrogate."),
        ('{"\\u0000": 1}', "A string contains a NUL character or a lone surrogate."),
        ('["a", "\\udfff"]', "A string contains a NUL character or a lone surrogate."),
        ('"\\udc00\\ud800"', "A string contains a NUL character or a lone surrogate."),
        ("\ufeff{}", None),
        ("'a'", None),
        ("[1 2]", None),
        ("01", None),
        ("+1", None),
        (".5", None),
        ("[1,]", None),
        ('"\t"', None),
        ("/* no */ 1", None),
    ],
)
def test_refuses(text: str, reason: str | None) -> None:
    """Each is refused, with a reason where Python's own words will not do."""
    with pytest.raises(StrictJsonError) as caught:
        parse(text.encode())
    if reason:
        assert reason == str(caught.value)


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_depth(brackets: str) -> None:
    """The deepest that is allowed is taken, one more is refused."""
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    deepest = opening * (MAX_DEPTH - 1) + brackets + closing * (MAX_DEPTH - 1)
    parse(deepest.encode())
    with pytest.raises(StrictJsonError, match="nested"):
        parse(f"[{deepest}]".encode())


def test_brackets_in_strings_are_no_depth() -> None:
    """Brackets inside a string, behind any escapes, count for nothing."""
    text = "[" * 1000 + '\\"{' + "\\"
    assert parse(json.dumps({"a": text, text: "]"}).encode()) == {"a": text, text: "]"}


def test_surrogate_pair() -> None:
    """A pair of surrogates is one character."""
    assert parse(b'"\\ud83e\\udd89"') == "\N{OWL}"


def test_negative_zero_and_precision() -> None:
    """A fraction is the nearest double; an integer is exact."""
    assert math.copysign(1, parse(b"-0.0")) == -1
    assert parse(str(2**63 + 1).encode()) == 2**63 + 1


@pytest.mark.parametrize(
    "data",
    [
        b'"' * 1_000_000,
        b'\\"' * 500_000,
        b'"\\' + b'\\"' * 500_000,
        b"[" * 1_000_000,
        b"[]" * 500_000,
        b'{"a":' * 200_000,
        b"9" * 1_000_000,
        b"[" + b"1," * 500_000,
        b'"' + b"\\u0000" * 160_000 + b'"',
        b" " * 1_000_000,
        b"1e" + b"9" * 1_000_000,
    ],
    ids=lambda data: repr(data[:8]),
)
def test_no_body_takes_long(data: bytes) -> None:
    """A megabyte of whatever is refused within a second: the work grows with the length only."""
    started = time.process_time()  # not that of others
    with pytest.raises(StrictJsonError):
        parse(data)
    assert time.process_time() - started < promised(1)
