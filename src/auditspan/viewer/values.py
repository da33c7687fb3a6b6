"""Values of a body as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from auditspan.format import Json, printable_json
from auditspan.reading import Event

Kind: TypeAlias = Literal["text", "none", "note", "json"]

_LONG = 160
"""Characters from which a value is folded on the event page."""

_KIBIBYTE = 1024


@dataclass(frozen=True, kw_only=True)
class Value:
    """Value as text. A `note` says what is recorded in place of the value."""

    text: str
    kind: Kind = "text"

    @property
    def is_long(self) -> bool:
        """True if the value is folded on the event page."""
        return len(self.text) > _LONG or "\n" in self.text


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Change of one column; a side is None where the change has none."""

    name: str
    old: Value | None
    new: Value | None


def value_of(value: Json) -> Value:
    """Return the text of a value; strings are shown without quotes."""
    if value is None:
        return Value(text="null", kind="none")
    if isinstance(value, str):
        return Value(text=value) if value else Value(text="empty text", kind="none")
    if isinstance(value, Mapping):
        return _note(value) or Value(text=printable_json(value, indent=2), kind="json")
    if value == []:
        return Value(text="empty list", kind="none")
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return Value(text=", ".join(map(str, value)))
    return Value(text=printable_json(value), kind="json" if isinstance(value, list) else "text")


def differences(event: Event) -> list[Difference]:
    """Return the changes of an event, by column; links that were removed count as old."""
    return [_difference(name, change) for name, change in sorted(event.changes.items())]


def reversed_differences(event: Event) -> list[Difference]:
    """Return what reverting the event changes, by column."""
    return [Difference(name=one.name, old=one.new, new=one.old) for one in differences(event)]


def telling(event: Event) -> list[Difference]:
    """Return the changes with those first that say most: without null, and without the key."""

    def is_minor(one: Difference) -> bool:
        sides = [side for side in (one.old, one.new) if side is not None]
        return one.name == "id" or all(side.kind == "none" for side in sides)

    return sorted(differences(event), key=is_minor)


def _difference(name: str, change: Mapping[str, Json]) -> Difference:
    return Difference(
        name=name, old=_side(change, "old", "removed"), new=_side(change, "new", "added")
    )


def _side(change: Mapping[str, Json], *names: str) -> Value | None:
    return next((value_of(change[name]) for name in names if name in change), None)


def _note(value: Mapping[str, Json]) -> Value | None:
    """Return the note for a value that is redacted, erased, locked, or too long for a body."""
    if value.get("$redacted") is True:
        fingerprint = value.get("$fingerprint")
        known = f" {str(fingerprint)[:8]}" if fingerprint else ""
        return Value(text=f"redacted{known}", kind="note")
    if value.get("$erased") is True:
        return Value(text="erased", kind="note")
    if value.get("$erasable") is True:
        return Value(text="needs the erasure key", kind="note")
    if {"$len", "$sha256"} == value.keys():
        return Value(text=f"{_size(value['$len'])}, {str(value['$sha256'])[:8]}…", kind="note")
    return None


def _size(length: Json) -> str:
    if not isinstance(length, int):
        return "long value"
    return f"{length / _KIBIBYTE:.1f} KiB" if length >= _KIBIBYTE else f"{length} bytes"
