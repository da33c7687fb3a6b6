"""Parser for stored audit bodies, which are treated as untrusted input."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import canonical_json
from auditspan.format.erasable import MEMBER, is_erasable

MEMBERS = (
    *("action", "actor", "change_id", "changes", "event_id", "metadata", "occurred_at"),
    *(
        "on_behalf_of",
        "outcome",
        "reason",
        "request",
        "service",
        "span_id",
        "target",
        "tenant",
        "trace_id",
    ),
    *("tx_id", "v"),
)
"""The members of body version 1."""

_REQUIRED = tuple(name for name in MEMBERS if name != "change_id")
"""The members that every body has; bodies of earlier releases lack `change_id`."""

_TEXTS = ("action", "event_id", "occurred_at", "outcome", "tx_id")
_TEXTS_OR_NULL = ("reason", "span_id", "tenant", "trace_id")
_ACTOR = ("type", "id", "label")
_PARTS: Mapping[str, tuple[str, ...]] = {
    "actor": _ACTOR,
    "on_behalf_of": _ACTOR,
    "request": ("id", "client_address", "user_agent", "method", "route"),
    "service": ("name", "version", "instance"),
    "target": ("type", "id"),
}
"""The nested objects of a body, with their members that are text or null."""

_REQUIRED_PARTS = {"actor": "type", "service": "name"}
"""The parts that are never null, each with its member that is always text."""


def read_body(body: str) -> dict[str, Any]:
    """Parse a body as a JSON object within the profile; its members are not checked.

    Raises:
        AuditBodyError: the body is not such an object.
    """
    try:
        members = json.loads(body)
        if not isinstance(members, dict):
            raise AuditBodyError("the body is not a JSON object")
        canonical_json(members)
    except RecursionError as error:
        raise AuditBodyError("the body is nested too deeply") from error
    except ValueError as error:
        raise AuditBodyError("the body is not JSON") from error
    return members


def read_event(body: str) -> dict[str, Any]:
    """Parse a body and check that it has the members of version 1, each of the right type.

    Raises:
        AuditBodyError: the body is not a valid event.
    """
    members = read_body(body)
    missing = next((name for name in _REQUIRED if name not in members), None)
    if missing is not None:
        raise AuditBodyError(f"the body has no member {missing}")
    wrong = next(_of_wrong_type(members), None)
    if wrong is not None:
        raise AuditBodyError(f"the member {wrong} of the body has the wrong type")
    return members


def _of_wrong_type(members: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in _TEXTS if not isinstance(members[name], str))
    yield from (name for name in _TEXTS_OR_NULL if not _is_text_or_null(members[name]))
    yield from (name for name in _PARTS if not _is_part(name, members[name]))
    yield from (name for name in ("changes", "metadata") if not isinstance(members[name], dict))
    if not all(isinstance(change, dict) for change in members["changes"].values()):
        yield "changes"
    if not is_change_id(members.get("change_id")):
        yield "change_id"
    if not is_erasable(members.get(MEMBER, {})):
        yield MEMBER


def is_change_id(value: object) -> TypeGuard[int | None]:
    """Check whether a value is a valid `change_id` of a body: an integer or null."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _is_part(name: str, part: object) -> bool:
    if part is None:
        return name not in _REQUIRED_PARTS
    if not isinstance(part, dict):
        return False
    if name in _REQUIRED_PARTS and not isinstance(part.get(_REQUIRED_PARTS[name]), str):
        return False
    if name == "service" and not _is_attributes(part.get("attributes", {})):
        return False
    return all(key in part and _is_text_or_null(part[key]) for key in _PARTS[name])


def _is_attributes(value: object) -> bool:
    """Return True for attributes of a resource; bodies without any lack the member."""
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _is_text_or_null(value: object) -> bool:
    return value is None or isinstance(value, str)
