"""JSON as it must be: what two parsers could read differently is refused.

Python's parser takes NaN, duplicate names, NUL and lone surrogates, turns 1e999 into infinity, and
runs out of stack on deep nesting. Here is the profile of I-JSON (RFC 7493) with a limit on depth.
Standard library only; the size of a body is limited before it comes here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

MAX_DEPTH = 32
"""How many arrays and objects may stand in one another."""

MAX_INTEGER_DIGITS = 40
"""Enough for any integer that somebody means; Python converts long ones in quadratic time."""

# A string is one token, also where its end is missing: a bracket inside is not a bracket, and no
# character is looked at twice.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class StrictJsonError(ValueError):
    """The text is not JSON, or JSON that is read differently by different parsers."""


def parse(data: bytes) -> Any:  # noqa: ANN401 (any JSON value)
    """The value of a JSON text in UTF-8.

    Raises:
        StrictJsonError: with a reason that repeats nothing of the text but a name.
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
            raise StrictJsonError("A string holds a NUL character or a lone surrogate.")
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
        raise StrictJsonError("An object has the same name twice.")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise StrictJsonError(f"{name} is no JSON number.")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise StrictJsonError("A number is too large for a double.")
    return number


def _int(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise StrictJsonError(f"An integer has more than {MAX_INTEGER_DIGITS} digits.")
    return int(digits)


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401
    """Every name and string in the value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
