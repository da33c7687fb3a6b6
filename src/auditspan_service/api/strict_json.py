"""A strict JSON parser that refuses text which two parsers could read differently.

Python's parser accepts NaN, duplicate names, NUL and lone surrogates, turns 1e999 into infinity,
and exhausts the stack on deep nesting. This module implements the profile of I-JSON (RFC 7493),
with a limit on depth. It uses only the standard library; the size of a body is limited elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

MAX_DEPTH = 32
"""The maximum nesting depth of arrays and objects."""

MAX_INTEGER_DIGITS = 40
"""Enough for any useful integer; Python converts long ones in quadratic time."""

# A string is one token, even an unterminated one: a bracket inside it does not count, and no
# character is scanned twice.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class StrictJsonError(ValueError):
    """Error for text that is not JSON, or that different parsers would read differently."""


def parse(data: bytes) -> Any:  # noqa: ANN401 (any JSON value)
    """Return the value of a JSON text in UTF-8.

    Raises:
        StrictJsonError: the text is refused; the message repeats no part of it except a constant.
    """
    text = _decode(data)
    _require_shallow(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise StrictJsonError(f"The body is not JSON ({error.msg}: {where}).") from None
    for string in _strings(value):
        if _UNFIT.search(string):
            raise StrictJsonError("A string contains a NUL character or a lone surrogate.")
    return value


def _decode(data: bytes) -> str:
    if not data.strip():
        raise StrictJsonError("The body is empty; it must be JSON.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"The body is not UTF-8 (byte {error.start}).") from None


def _require_shallow(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise StrictJsonError(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise StrictJsonError("An object contains the same name twice.")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise StrictJsonError(f"{name} is not a valid JSON number.")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise StrictJsonError("A number is too large for a double.")
    return number


def _int(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise StrictJsonError(f"An integer has more than {MAX_INTEGER_DIGITS} digits.")
    return int(digits)


def _strings(value: object) -> Iterator[str]:
    """Yield every name and string in the value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
