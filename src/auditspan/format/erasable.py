"""Erasable values: a body has a commitment to each, and its disclosure is stored beside the body.

    "changes":{"email":{"new":{"$erasable":true}}},
    "erasable":{"<commitment>":{"path":["changes","email","new"],"subject":["user","42"]}}

A disclosure has the form of SD-JWT (RFC 9901, section 4.2.1): base64url of the JSON array of salt,
name and value. The commitment is the base64url SHA-256 of that text. The salt keeps a guessed value
from being confirmed once its disclosure is erased.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeGuard

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import Json, canonical_json, canonical_scalar, canonical_word

SALT_BYTES = 16
ERASABLE: dict[str, Json] = {"$erasable": True}
"""The member of `changes` or `metadata` in place of an erasable value."""

ERASED: dict[str, Json] = {"$erased": True}
"""The value that readers see once it is erased; erased texts of other members are null."""

MEMBER = "erasable"
"""The member of a body with the commitments; bodies without erasable values lack it."""

_MARK = f',"{MEMBER}":{{"'
_VALUES = ("changes", "metadata")
"""The members whose values may have any type."""


class Subject(NamedTuple):
    """The person or thing that erasable values are about, as the application names it."""

    type: str
    id: str


class Disclosure:
    """Erasable value with its salt.

    Attributes:
        path: the names that lead to the value in the body.
        subject: the subject whose erasure erases it.
        text: salt, path and value, as in SD-JWT.
    """

    def __init__(self, path: Sequence[str], subject: Subject, value: Json, salt: bytes) -> None:
        self.path, self.subject = tuple(path), subject
        name = canonical_word(".".join(path))
        content = f'["{_base64url(salt)}",{name},{canonical_scalar(value)}]'
        self.text = _base64url(content.encode())

    @cached_property
    def sha256(self) -> str:
        """The commitment."""
        return commitment_of(self.text)

    @property
    def entry(self) -> str:
        """The canonical JSON of the entry of the body, under the commitment."""
        type_, id_ = self.subject
        subject = f"{canonical_word(type_)},{canonical_scalar(id_)}"
        return f'{{"path":{_path_text(self.path)},"subject":[{subject}]}}'


@lru_cache(maxsize=1024)
def _path_text(path: tuple[str, ...]) -> str:
    return canonical_json([*path])


class Commitment(NamedTuple):
    """Entry of a stored body: the place, digest and subject of an erasable value."""

    path: tuple[str, ...]
    sha256: str
    subject: Subject


def commitment_of(disclosure: str) -> str:
    """Return the commitment to a disclosure: its SHA-256 in base64url."""
    return _base64url(hashlib.sha256(disclosure.encode()).digest())


def may_have_commitments(body: str) -> bool:
    """Check quickly whether a body may have commitments; False is certain."""
    return _MARK in body


def commitments(members: Mapping[str, Any]) -> list[Commitment]:
    """Return the commitments of a body that `is_erasable` accepts."""
    return [
        Commitment(tuple(entry["path"]), sha256, Subject(*entry["subject"]))
        for sha256, entry in members.get(MEMBER, {}).items()
    ]


def is_erasable(value: object) -> TypeGuard[dict[str, Any]]:
    """Check whether a value is valid as the member `erasable` of a body."""
    return isinstance(value, dict) and all(map(_is_entry, value.values()))


def disclosed_value(disclosure: str) -> Json:
    """Return the value of a disclosure whose commitment was checked."""
    padded = disclosure + "=" * (-len(disclosure) % 4)
    value: Json = json.loads(base64.urlsafe_b64decode(padded))[2]
    return value


def with_values(
    members: Mapping[str, Any], disclosures: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the members of a body with its erasable values, and without the commitments.

    Args:
        members: the members of a valid body.
        disclosures: the disclosures by commitment; None for one that cannot be read. A value
            without a disclosure is erased.

    Raises:
        AuditBodyError: a commitment names no place in the body, or a disclosure is malformed.
    """
    shown = {name: value for name, value in members.items() if name != MEMBER}
    try:
        for one in commitments(members):
            disclosure = disclosures.get(one.sha256)
            if disclosure is not None:
                replace_at(shown, one.path, disclosed_value(disclosure))
            elif one.sha256 not in disclosures and one.path[0] in _VALUES:
                replace_at(shown, one.path, ERASED)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise AuditBodyError("an erasable value does not fit the body") from error
    return shown


def replace_at(members: dict[str, Any], path: Sequence[str], value: Json) -> None:
    """Replace the value at a path, in copies of the objects on the way to it."""
    *way, last = path
    for name in way:
        members[name] = members = dict(members[name])
    members[last] = value


def placeholder(path: Sequence[str]) -> Json:
    """Return the member of the body in place of an erasable value."""
    return ERASABLE if path[0] in _VALUES else None


def is_unknown(value: Json) -> bool:
    """Check whether a value is erased, or has a disclosure that was not read."""
    return value in (ERASED, ERASABLE)


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"path", "subject"}:
        return False
    path, subject = entry["path"], entry["subject"]
    lengths = len(Subject._fields)
    return _are_texts(path) and len(path) > 1 and _are_texts(subject) and len(subject) == lengths


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
