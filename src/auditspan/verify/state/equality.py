"""Whether two forms of a value, recorded or live, are of the same value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from auditspan.format import Json, MacKey, redact, shorten

KEY_ID = "$key"
"""The member of a stand-in that names the key of its fingerprint."""

StandIn = dict[str, Json]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Compares stand-ins by their fingerprints where the key is at hand, else by presence.

    Attributes:
        keys: the keys of the fingerprints by id; one of another key cannot be checked.
    """

    keys: Mapping[str, MacKey]

    def holds(self, name: str, one: Json, other: Json, *, zoned: bool = False) -> bool:
        """Whether both are forms of one value of the column of this name.

        Args:
            name: the column; fingerprints depend on it.
            one: a form of the value.
            other: another.
            zoned: the column is a timestamp with a zone, which SQLite does not keep: there a value
                without a zone is in UTC.
        """
        if is_same(one, other):
            return True
        if one is None or other is None:
            return False
        if is_stand_in(one) or is_stand_in(other):
            return self._fingerprints_agree(name, one, other)
        if is_digest(one) or is_digest(other):
            return is_same(_digest(one), _digest(other))
        if isinstance(one, dict | list):
            return self._containers_agree(name, one, other)
        return zoned and _in_utc(one) == _in_utc(other)

    def _containers_agree(self, name: str, one: Json, other: Json) -> bool:
        """Compare by member; what is nested too deeply for that has only the text to go by."""
        try:
            return self._members_agree(name, one, other)
        except RecursionError:
            return False

    def _members_agree(self, name: str, one: Json, other: Json) -> bool:
        """Whether objects or lists agree member by member: some may stand for a secret."""
        if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
            return all(self.holds(f"{name}.{key}", value, other[key]) for key, value in one.items())
        if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            return all(self.holds(name, *pair) for pair in zip(one, other, strict=True))
        return False

    def _fingerprints_agree(self, name: str, one: Json, other: Json) -> bool:
        key_ids = {value.get(KEY_ID) for value in (one, other) if is_stand_in(value)}
        if len(key_ids) > 1:
            return True  # of two keys: nobody can tell
        key = self.keys.get(str(key_ids.pop()))
        first, second = (_fingerprint(name, value, key) for value in (one, other))
        return first is None or second is None or first == second


def with_key_id(value: Json, key_id: str | None) -> Json:
    """A stand-in that says under which key its fingerprint is; anything else as it is."""
    return {KEY_ID: key_id, **value} if is_stand_in(value) else value


def is_same(one: Json, other: Json) -> bool:
    """Equal as JSON; in Python 1 equals True, also inside containers."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict | list):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return True


def is_stand_in(value: Json) -> TypeGuard[StandIn]:
    """Whether it stands for a redacted value."""
    return isinstance(value, dict) and "$redacted" in value


def is_digest(value: Json) -> TypeGuard[StandIn]:
    """Whether it stands for a value that was too long."""
    return isinstance(value, dict) and "$sha256" in value


def _digest(value: Json) -> Json:
    return value if is_digest(value) else shorten(value, limit=0)


def _fingerprint(name: str, value: Json, key: MacKey | None) -> Json:
    """The fingerprint of a value; None where it has none and none can be made."""
    if is_stand_in(value):
        return value.get("$fingerprint")
    if key is None or is_digest(value):
        return None
    made = redact(name, value, key)
    return made["$fingerprint"] if is_stand_in(made) else None


def _in_utc(value: Json) -> Json:
    return value.removesuffix("Z") if isinstance(value, str) else value
