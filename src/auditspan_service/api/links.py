"""Links of the API's description (OpenAPI): which operations a success leads to, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_ID = {"path.id": "$response.body#/id"}
_MATCH = {"header.If-Match": "$response.header.ETag"}
_EVENT = {"path.event_id": "$response.body#/event_id"}

_OF_KEY = {"keys.get": _ID, "keys.revoke": _ID}
_OF_USER = {
    "users.get": _ID,
    "users.change": {**_ID, **_MATCH},
    "users.delete": {**_ID, **_MATCH},
    "keys.search": _ID,
    "roles.of_user": _ID,
    "history.get": {"path.type": "user", **_ID},
}

LINKS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "users.create": {**_OF_USER, "keys.create": _ID, "roles.assign": _ID},
    "users.get": _OF_USER,
    "users.change": _OF_USER,
    "keys.create": {**_OF_KEY, "keys.rotate": _ID},
    "keys.rotate": _OF_KEY,
    "roles.put": {"roles.delete": {"path.role": "$response.body#/name"}},
    "event_ingest.create": {"audit_events.get": _EVENT, "proofs.prove": _EVENT},
}
"""The parameters of each operation that follows another, taken from the response of the other."""


def links_of(operation_id: str) -> dict[str, Any]:
    """Return the links of a successful response of an operation."""
    return dict(_links(operation_id))


def _links(operation_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, parameters in LINKS.get(operation_id, {}).items():
        yield name, {"operationId": name, "parameters": dict(parameters)}
