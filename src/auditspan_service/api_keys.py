"""API keys: `ask_<id>_<secret>`, shown once and stored only as a hash.

The text of a key MUST NOT reach a body, a span, a log record or an exception. It exists only with
the caller, in `IssuedKey.text`, and briefly in `authenticate`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from auditspan_service.errors import FieldError, InvalidInputError, NotFoundError
from auditspan_service.models import MAX_ID, ApiKey, User, utc_now
from auditspan_service.schemas import NewUser, read
from auditspan_service.users import create_user, find_user

ADMIN = "admin"
ON_BEHALF_OF = "audit:on-behalf-of"
SCOPES = ("users:read", "users:write", "audit:read", "audit:write", ON_BEHALF_OF, ADMIN)
"""The scopes of a key: each permits some routes, and `admin` permits all. `ON_BEHALF_OF` permits
the member `on_behalf_of` in events that are recorded with `audit:write`."""

_SECRET_BYTES = 32
_KEY = re.compile(r"ask_([1-9][0-9]{0,18})_([A-Za-z0-9_-]{43})")
_NO_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, kw_only=True)
class IssuedKey:
    """New key with its text, which cannot be retrieved later."""

    key: ApiKey
    text: str = field(repr=False)


def create_key(
    session: Session, username: str, scopes: Iterable[str], *, name: str | None = None
) -> IssuedKey:
    """Create a key for a user, and the user if it does not exist.

    Raises:
        InvalidInputError: a scope is unknown, none was given, or the username is invalid.
    """
    wanted = _scopes(scopes)
    new_user = read(NewUser, {"username": username})
    user = find_user(session, new_user.username) or create_user(session, new_user)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    key = ApiKey(user=user, name=name, scopes=wanted, secret_hash=_hash(secret))
    session.add(key)
    session.flush()
    return IssuedKey(key=key, text=f"ask_{key.id}_{secret}")


def authenticate(session: Session, text: str) -> ApiKey | None:
    """Return the key with this text and its user, or None if the key is not valid (any more)."""
    match = _KEY.fullmatch(text)
    key_id = int(match[1]) if match else 0
    key = (
        session.get(ApiKey, key_id, options=[joinedload(ApiKey.user)]) if key_id <= MAX_ID else None
    )
    expected = key.secret_hash if key else _NO_HASH
    # Compared even if the key does not exist, so that timing does not reveal which ids exist.
    is_right = hmac.compare_digest(_hash(match[2] if match else ""), expected)
    return key if key and match and is_right and _is_live(key) else None


def find_live_key(session: Session, key_id: int) -> ApiKey | None:
    """Return the key with its user, or None if the key is not valid (any more).

    For a caller that has authenticated with this key before.
    """
    key = session.get(ApiKey, key_id, options=[joinedload(ApiKey.user)])
    return key if key and _is_live(key) else None


def allows(key: ApiKey, scope: str) -> bool:
    """Return whether the key has this scope."""
    return scope in key.scopes or ADMIN in key.scopes


def is_administrator(user: User) -> bool:
    """Return whether the user has an `admin` key that is valid while the user is active."""
    return any(ADMIN in key.scopes and _is_unspent(key) for key in user.keys)


def list_keys(session: Session) -> list[ApiKey]:
    """Return all keys with their users, oldest first."""
    statement = select(ApiKey).options(joinedload(ApiKey.user)).order_by(ApiKey.id)
    return list(session.scalars(statement))


def revoke_key(session: Session, key_id: int) -> ApiKey:
    """Revoke a key, effective immediately; a key that was revoked before is unchanged.

    Raises:
        NotFoundError: the key does not exist.
    """
    key = session.get(ApiKey, key_id) if 0 < key_id <= MAX_ID else None
    if key is None:
        raise NotFoundError(f"Key {key_id} does not exist.")
    key.revoked_at = key.revoked_at or utc_now()
    session.flush()
    return key


def _scopes(scopes: Iterable[str]) -> list[str]:
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        problem = f"{', '.join(unknown)} is unknown" if unknown else "at least one is required"
        message = f"{problem}; the scopes are {', '.join(SCOPES)}"
        raise InvalidInputError([FieldError(field="scope", message=message)])
    return wanted


def _is_live(key: ApiKey) -> bool:
    return key.user.active and _is_unspent(key)


def _is_unspent(key: ApiKey) -> bool:
    expired = key.expires_at is not None and key.expires_at <= utc_now()
    return key.revoked_at is None and not expired


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
