"""Equality of two forms of a value, recorded or live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from auditspan.format import (
    Json,
    MacKey,
    Pairs,
    document_text,
    is_unknown,
    parse_document,
    redact,
    shorten,
)

KEY_ID = "$key"
"""The member of a stand-in that holds the id of its fingerprint's key."""

StandIn = dict[str, Json]

_REDACTED = frozenset({"$redacted", "$fingerprint", KEY_ID})
"""The members that a stand-in for a redacted value may have."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Equality test that compares stand-ins by fingerprint if the key is known, else by presence.

    An erased value, or one that is not disclosed, is only compared by presence. Only a whole value
    can be erased or too long, and nothing in a live value is a stand-in: what the application
    writes inside its own documents may look like any of these.

    Attributes:
        keys: the keys of the fingerprints by id; fingerprints of other keys cannot be checked.
    """

    keys: Mapping[str, MacKey]

    def holds(
        self, name: str, one: Json, other: Json, *, zoned: bool = False, live: bool = False
    ) -> bool:
        """Return whether both are forms of one value of the column of this name.

        Args:
            name: the column; fingerprints depend on it.
            one: a recorded form of the value.
            other: another form.
            zoned: whether the column is a timestamp with a time zone, which SQLite does not keep:
                there, a value without a time zone is in UTC.
            live: whether the other form is that of the table, in which nothing is redacted.
        """
        if is_same(one, other):
            return True
        if one is None or other is None:
            return False
        if is_unknown(one) or is_unknown(other):
            return True
        if is_digest(one) or is_digest(other):
            return is_same(_digest(one), _digest(other))
        return self._agree(name, one, other, live=live) or (
            zoned and _in_utc(one) == _in_utc(other)
        )

    def _agree(self, name: str, one: Json, other: Json, *, live: bool) -> bool:
        """Compare by member; one that is nested too deeply, or no document, is equal as text."""
        try:
            if _is_document(one) and _is_document(other):
                documents = (parse_document(str(one["$json"])), parse_document(str(other["$json"])))
                return self._members_agree(name, *documents, live=live)
            if isinstance(one, list) and isinstance(other, list):  # an array may be of documents
                return len(one) == len(other) and all(
                    self._agree(name, *pair, live=live) for pair in zip(one, other, strict=True)
                )
            return self._agree_inside(name, one, other, live=live)
        except (RecursionError, ValueError):
            return False

    def _agree_inside(self, path: str, one: Any, other: Any, *, live: bool) -> bool:  # noqa: ANN401
        """Compare values that may be stand-ins, unlike a document as a whole."""
        if is_same(one, other):
            return True
        if is_stand_in(one) or (not live and is_stand_in(other)):
            return self._fingerprints_agree(path, one, other, live=live)
        return self._members_agree(path, one, other, live=live)

    def _members_agree(self, path: str, one: Any, other: Any, *, live: bool) -> bool:  # noqa: ANN401
        names = _names(one)
        return (
            names is not None
            and names == _names(other)
            and all(
                self._agree_inside(path if name is None else f"{path}.{name}", *pair, live=live)
                for name, *pair in zip(names, _items(one), _items(other), strict=True)
            )
        )

    def _fingerprints_agree(self, path: str, one: Any, other: Any, *, live: bool) -> bool:  # noqa: ANN401
        if one is None or other is None:
            return False
        sides = ((one, is_stand_in(one)), (other, not live and is_stand_in(other)))
        key_ids = {value.get(KEY_ID) for value, redacted in sides if redacted}
        if len(key_ids) > 1:
            return True  # two keys: cannot be compared
        key = self.keys.get(str(key_ids.pop()))
        first, second = (
            value.get("$fingerprint") if redacted else _fingerprint(path, value, key)
            for value, redacted in sides
        )
        return first is None or second is None or first == second


def with_key_id(value: Json, key_id: str | None) -> Json:
    """Return a value with the id of the key of its fingerprints in each stand-in."""
    if isinstance(value, list):  # an array may be of documents
        return [with_key_id(item, key_id) for item in value]
    if not isinstance(value, dict):
        return value
    try:
        if not _is_document(value):
            marked: Json = _marked(value, key_id)
            return marked
        text = str(value["$json"])
        return _marked_document(text, key_id) if '"$redacted"' in text else value
    except (RecursionError, ValueError):
        return value


def _marked_document(text: str, key_id: str | None) -> Json:
    document = parse_document(text)
    if is_stand_in(document):  # only its members can be stand-ins
        return {"$json": text}
    return {"$json": document_text(_marked(document, key_id))}


def _marked(value: Any, key_id: str | None) -> Any:  # noqa: ANN401
    if is_stand_in(value):
        return {KEY_ID: key_id, **value}
    if isinstance(value, Pairs):
        return Pairs((name, _marked(item, key_id)) for name, item in value)
    if isinstance(value, dict):
        return {name: _marked(item, key_id) for name, item in value.items()}
    return [_marked(item, key_id) for item in value] if isinstance(value, list) else value


def is_same(one: Json, other: Json) -> bool:
    """Return whether two values are equal as JSON; in Python, 1 equals True, even nested."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict | list):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return True


def is_stand_in(value: object) -> TypeGuard[StandIn]:
    """Return whether it stands for a redacted value: it has exactly the members of one."""
    return (
        isinstance(value, dict)
        and value.get("$redacted") is True
        and value.keys() <= _REDACTED
        and isinstance(value.get("$fingerprint"), str | None)
    )


def is_digest(value: Json) -> TypeGuard[StandIn]:
    """Return whether it stands for a value that was too long."""
    return isinstance(value, dict) and "$sha256" in value


def _is_document(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict) and value.keys() == {"$json"} and type(value["$json"]) is str


def _digest(value: Json) -> Json:
    return value if is_digest(value) else shorten(value, limit=0)


def _names(value: object) -> list[Any] | None:
    """Return the names of the members that are compared; None for one each of a list's items."""
    if isinstance(value, Pairs):
        return [name for name, _ in value]
    if isinstance(value, dict):
        return sorted(value)
    return [None] * len(value) if isinstance(value, list) else None


def _items(value: Any) -> list[Any]:  # noqa: ANN401
    """Return the members in the order of their names."""
    if isinstance(value, Pairs):
        return [item for _, item in value]
    return [value[name] for name in sorted(value)] if isinstance(value, dict) else list(value)


def _fingerprint(path: str, value: Any, key: MacKey | None) -> Json:  # noqa: ANN401
    """Return the fingerprint of a value that is not redacted; None without the key."""
    if key is None:
        return None
    made = redact(path, json.loads(document_text(value)), key)
    return made["$fingerprint"] if is_stand_in(made) else None


def _in_utc(value: Json) -> Json:
    return value.removesuffix("Z") if isinstance(value, str) else value
