"""JSON forms of users, keys and roles in the API and the commands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from auditspan.format import timestamp
from auditspan_service.models import ApiKey, User


def user_resource(user: User) -> dict[str, Any]:
    """Return the JSON form of a user."""
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "full_name": user.full_name,
        "active": user.active,
        "created_at": timestamp(user.created_at),
        "updated_at": timestamp(user.updated_at),
        "version": user.version,
    }


def key_resource(key: ApiKey, last_used_at: datetime | None) -> dict[str, Any]:
    """Return the JSON form of a key, without its secret."""
    return {
        "id": key.id,
        "username": key.user.username,
        "name": key.name,
        "scopes": key.scopes,
        "tenant": key.tenant,
        "created_at": timestamp(key.created_at),
        "expires_at": timestamp(key.expires_at) if key.expires_at else None,
        "revoked_at": timestamp(key.revoked_at) if key.revoked_at else None,
        "last_used_at": timestamp(last_used_at) if last_used_at else None,
    }


def role_resource(name: str, scopes: list[str]) -> dict[str, Any]:
    """Return the JSON form of a role."""
    return {"name": name, "scopes": scopes}
