"""Equality of two forms of a value, recorded or live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from auditspan.format import Json, MacKey, is_unknown, parse_document, redact, shorten

KEY_ID = "$key"
"""The member of a stand-in that holds the id of its fingerprint's key."""

StandIn = dict[str, Json]

_SEQUENCES = (list, tuple)
"""Lists, and the members of an object with duplicate keys."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Equality test that compares stand-ins by fingerprint if the key is known, else by presence.

    An erased value, or one that is not disclosed, is only compared by presence.

    Attributes:
        keys: the keys of the fingerprints by id; fingerprints of other keys cannot be checked.
    """

    keys: Mapping[str, MacKey]

    def holds(self, name: str, one: Json, other: Json, *, zoned: bool = False) -> bool:
        """Return whether both are forms of one value of the column of this name.

        Args:
            name: the column; fingerprints depend on it.
            one: a form of the value.
            other: another form.
            zoned: whether the column is a timestamp with a time zone, which SQLite does not keep:
                there, a value without a time zone is in UTC.
        """
        if is_same(one, other):
            return True
        if one is None or other is None:
            return False
        return is_unknown(one) or is_unknown(other) or self._agree(name, one, other, zoned=zoned)

    def _agree(self, name: str, one: Json, other: Json, *, zoned: bool) -> bool:
        if is_stand_in(one) or is_stand_in(other):
            return self._fingerprints_agree(name, one, other)
        if is_digest(one) or is_digest(other):
            return is_same(_digest(one), _digest(other))
        if isinstance(one, dict | list | tuple):
            return self._containers_agree(name, one, other)
        return zoned and _in_utc(one) == _in_utc(other)

    def _containers_agree(self, name: str, one: Json, other: Json) -> bool:
        """Compare by member; what is nested too deeply, or no document, is equal only as text."""
        try:
            return self._members_agree(name, *_opened(one, other))
        except (RecursionError, ValueError):
            return False

    def _members_agree(self, name: str, one: Json, other: Json) -> bool:
        """Return whether objects or lists agree by member, since some may be stand-ins."""
        if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
            return all(self.holds(f"{name}.{key}", value, other[key]) for key, value in one.items())
        if isinstance(one, _SEQUENCES) and isinstance(other, _SEQUENCES) and len(one) == len(other):
            return all(self.holds(name, *pair) for pair in zip(one, other, strict=True))
        return False

    def _fingerprints_agree(self, name: str, one: Json, other: Json) -> bool:
        key_ids = {value.get(KEY_ID) for value in (one, other) if is_stand_in(value)}
        if len(key_ids) > 1:
            return True  # two keys: cannot be compared
        key = self.keys.get(str(key_ids.pop()))
        first, second = (_fingerprint(name, value, key) for value in (one, other))
        return first is None or second is None or first == second


def with_key_id(value: Json, key_id: str | None) -> Json:
    """Return a stand-in with the id of its fingerprint's key; anything else unchanged."""
    return {KEY_ID: key_id, **value} if is_stand_in(value) else value


def is_same(one: Json, other: Json) -> bool:
    """Return whether two values are equal as JSON; in Python, 1 equals True, even nested."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict | list):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return True


def is_stand_in(value: Json) -> TypeGuard[StandIn]:
    """Return whether it stands for a redacted value."""
    return isinstance(value, dict) and "$redacted" in value


def is_digest(value: Json) -> TypeGuard[StandIn]:
    """Return whether it stands for a value that was too long."""
    return isinstance(value, dict) and "$sha256" in value


def _opened(one: Json, other: Json) -> tuple[Any, Any]:
    """Return two values, as documents if both are kept as text: members may be stand-ins."""
    if _is_document(one) and _is_document(other):
        return parse_document(str(one["$json"])), parse_document(str(other["$json"]))
    return one, other


def _is_document(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict) and value.keys() == {"$json"} and type(value["$json"]) is str


def _digest(value: Json) -> Json:
    return value if is_digest(value) else shorten(value, limit=0)


def _fingerprint(name: str, value: Json, key: MacKey | None) -> Json:
    """Return the fingerprint of a value; None if it has none and none can be computed."""
    if is_stand_in(value):
        return value.get("$fingerprint")
    if key is None or is_digest(value):
        return None
    made = redact(name, value, key)
    return made["$fingerprint"] if is_stand_in(made) else None


def _in_utc(value: Json) -> Json:
    return value.removesuffix("Z") if isinstance(value, str) else value
