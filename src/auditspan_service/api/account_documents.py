"""Documents of users, roles and keys that the API returns, as models for its description."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from auditspan_service.api.documents import EXAMPLE_TIME, Document, Page


class User(Document):
    """User of the API."""

    id: int
    username: str
    email: str | None
    full_name: str | None
    active: bool
    created_at: datetime
    updated_at: datetime
    version: int

    EXAMPLE: ClassVar[Any] = {
        "id": 7,
        "username": "kim",
        "email": "kim@example.org",
        "full_name": "Kim Park",
        "active": True,
        "created_at": EXAMPLE_TIME,
        "updated_at": EXAMPLE_TIME,
        "version": 1,
    }


class Role(Document):
    """Named set of scopes."""

    name: str
    scopes: list[str]

    EXAMPLE: ClassVar[Any] = {"name": "auditor", "scopes": ["audit:read"]}


class Key(Document):
    """API key, without its text."""

    id: int
    username: str
    name: str | None
    scopes: list[str]
    tenant: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    EXAMPLE: ClassVar[Any] = {
        "id": 3,
        "username": "billing",
        "name": "billing",
        "scopes": ["audit:write"],
        "tenant": "north",
        "created_at": EXAMPLE_TIME,
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
    }


class IssuedKey(Key):
    """New API key; `key` is its text, which only the first answer contains."""

    key: str | None

    EXAMPLE: ClassVar[Any] = Key.EXAMPLE | {"key": f"ask_3_{'A' * 43}"}


class UserPage(Page[User]):
    """Page of users."""

    EXAMPLE: ClassVar[Any] = {"items": [User.EXAMPLE], "next": None}


class RoleList(Page[Role]):
    """All roles; there is no next page."""

    EXAMPLE: ClassVar[Any] = {"items": [Role.EXAMPLE], "next": None}


class KeyList(Page[Key]):
    """All keys of a user; there is no next page."""

    EXAMPLE: ClassVar[Any] = {"items": [Key.EXAMPLE], "next": None}


class Erasure(Document):
    """Erasure of a user's values from the trail."""

    subject_type: str
    subject_id: str
    values: int
    events: int
    event_id: str | None

    EXAMPLE: ClassVar[Any] = {
        "subject_type": "user",
        "subject_id": "7",
        "values": 12,
        "events": 5,
        "event_id": "01a22894-a538-7000-8000-000000000000",
    }
