"""Canonical JSON (RFC 8785) in the audit body profile.

The profile: keys are strings and do not start with ``$``, except those that auditspan adds; values
are strings, true, false, null, integers within ±(2**53 - 1), arrays and objects. No string contains
NUL or a lone surrogate. `values` converts any other value to these, or refuses it. Only names of
columns, of link tables and in metadata have letters outside ASCII.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeAlias

from auditspan.errors import AuditBodyError

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser reads exactly (RFC 8785 §3.2.2.3)."""

_UNFIT_TEXT = re.compile("[\x00\ud800-\udfff]")
"""What no string of a body contains: NUL and lone surrogates."""

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
_encode_in_order = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_quote = json.encoder.encode_basestring


def canonical_json(value: Json | Mapping[str, Json]) -> str:
    """Return the RFC 8785 text of a value within the profile.

    Raises:
        AuditBodyError: the value is outside the profile; convert it with `represent`.
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        _require_profile(value)
        raise
    if _is_plain(value) and _is_plain_text(text):
        return text
    _require_profile(value)  # raises an error that names the problem, if there is one
    return _encode_in_order(_in_order(value))


def is_fit(text: str) -> bool:
    """Check that a text contains neither NUL nor a lone surrogate, quickly if it is ASCII."""
    return "\0" not in text and (text.isascii() or _UNFIT_TEXT.search(text) is None)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of members in the order of RFC 8785 §3.2.3, by their UTF-16 code units.

    It differs from the order of code points only where some are above U+FFFF.
    """
    found = sorted(names)
    if not "".join(found).isascii():
        found.sort(key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return found


def _in_order(value: Json | Mapping[str, Json]) -> Json:
    if isinstance(value, Mapping):
        return {name: _in_order(value[name]) for name in in_order(value)}
    return [*map(_in_order, value)] if isinstance(value, list) else value


def canonical_scalar(value: Json) -> str:
    """Return the canonical JSON of a value, with a fast path for scalars.

    Raises:
        AuditBodyError: the value is outside the profile.
    """
    if value is None:
        return "null"
    if type(value) is str and is_fit(value):
        return _quote(value)
    if type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER:
        return str(value)
    if type(value) is bool:
        return "true" if value else "false"
    return canonical_json(value)


@lru_cache(maxsize=1024, typed=True)
def canonical_word(word: str | None) -> str:
    """Cached `canonical_json` for recurring strings.

    Raises:
        AuditBodyError: the string is outside the profile.
    """
    return canonical_scalar(word)


@lru_cache(maxsize=4096)
def canonical_key(name: str) -> str:
    """Return the canonical JSON of a member's name, cached.

    Raises:
        AuditBodyError: the name is outside the profile.
    """
    return canonical_json({name: None}).removeprefix("{").removesuffix(":null}")


def parse_canonical(text: str) -> Json:
    """Parse canonical JSON.

    Raises:
        AuditBodyError: the text is not JSON, or not canonical.
    """
    try:
        value: Json = json.loads(text)
        if canonical_json(value) == text:
            return value
    except (ValueError, RecursionError) as error:
        raise AuditBodyError("the text is not JSON") from error
    raise AuditBodyError("the text is not canonical JSON")


def _is_plain(value: Json | Mapping[str, Json]) -> bool:
    """Check quickly that a value has only JSON types, ASCII keys and integers within the limit.

    It runs for every row. False is inconclusive. Strings are not checked here but in the encoded
    text (`_is_plain_text`).
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():  # type: ignore[union-attr]  # its type is dict
            if type(key) is not str or not key.isascii():
                return False
            if type(item) is not str and item is not None and not _is_plain(item):
                return False
        return True
    if kind is list:
        return all(map(_is_plain, value))  # type: ignore[arg-type]  # its type is list
    if kind is int:
        return -MAX_INTEGER <= value <= MAX_INTEGER  # type: ignore[operator]  # its type is int
    return kind is str or kind is bool or value is None


def _is_plain_text(text: str) -> bool:
    """Check that no string in an encoded value contains a NUL or a lone surrogate."""
    return "\\u0000" not in text and (text.isascii() or _UNFIT_TEXT.search(text) is None)


def _require_profile(value: Json | Mapping[str, Json], where: str = "") -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not is_profile_key(key):
                raise AuditBodyError(f"invalid key {key!r}: expected text without NUL")
            _require_profile(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for item in value:
            _require_profile(item, f"{where}[]")
    elif not is_profile_scalar(value):
        raise AuditBodyError(
            f"{where or 'the value'} cannot be in an audit body, with a value of type "
            f"{type(value).__name__}: use text, an integer of up to 53 bits, true, false, null, or "
            "lists and dictionaries of these; for another number, text such as '1.085'"
        )


def is_profile_key(key: object) -> bool:
    """Check that a key is in the profile."""
    return isinstance(key, str) and is_fit(key)


def is_profile_scalar(value: object) -> bool:
    """Check that a scalar is in the profile."""
    if isinstance(value, str):
        return is_fit(value)
    if isinstance(value, bool) or value is None:
        return True
    return isinstance(value, int) and abs(value) <= MAX_INTEGER
