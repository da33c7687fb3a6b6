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
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from auditspan_service.accounts.principals import Principal, principal_of
from auditspan_service.accounts.scopes import ADMIN, checked_scopes, permits, require_separate
from auditspan_service.accounts.users import create_user, find_user
from auditspan_service.errors import FieldError, InvalidInputError, NotFoundError
from auditspan_service.models import MAX_ID, ApiKey, Role, User, utc_now
from auditspan_service.schemas import NewUser, read

OVERLAP = timedelta(days=1)
"""The time for which a rotated key stays valid by default."""

_SECRET_BYTES = 32
_KEY = re.compile(r"ask_([1-9][0-9]{0,18})_([A-Za-z0-9_-]{43})")
_NO_HASH = hashlib.sha256(b"").hexdigest()
_WITH_ROLES = (joinedload(ApiKey.user).joinedload(User.roles),)


@dataclass(frozen=True, kw_only=True)
class IssuedKey:
    """New key with its text, which cannot be retrieved later."""

    key: ApiKey
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ParsedKey:
    """Parsed text of a key: its id, and the hash of its secret."""

    id: int
    hash: str = field(repr=False)


def create_key(
    session: Session,
    username: str,
    scopes: Iterable[str],
    *,
    name: str | None = None,
    tenant: str | None = None,
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Create a key for a user, and the user if it does not exist; its scopes need no roles.

    Raises:
        InvalidInputError: a scope is unknown, none was given, or the username is invalid.
    """
    wanted = checked_scopes(scopes, tenant=tenant, field="scope")
    new_user = read(NewUser, {"username": username})
    user = find_user(session, new_user.username) or create_user(session, new_user)
    key = ApiKey(user=user, name=name, scopes=wanted, tenant=tenant, expires_at=expires_at)
    return issue(session, key)


def issue(session: Session, key: ApiKey) -> IssuedKey:
    """Add a key with a new secret.

    Raises:
        InvalidInputError: with it, the user could both write and purge.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    key.secret_hash = _hash(secret)
    session.add(key)
    session.flush()
    require_separate({*held_scopes(key.user), *key.scopes}, field="scopes")
    return IssuedKey(key=key, text=f"ask_{key.id}_{secret}")


def held_scopes(user: User, *, besides: Role | None = None) -> set[str]:
    """Return the scopes of a user's roles, except one, and of the keys that can still be used."""
    of_roles = {scope for role in user.roles if role is not besides for scope in role.scopes}
    return of_roles.union(*(key.scopes for key in user.keys if _is_unspent(key)))


def rotate_key(session: Session, key_id: int, *, overlap: timedelta = OVERLAP) -> IssuedKey:
    """Issue a key like this one, which expires after the overlap; until then both are valid.

    Raises:
        NotFoundError: the key does not exist.
        InvalidInputError: the key is not valid any more.
    """
    old = get_key(session, key_id)
    if not _is_unspent(old):
        message = "the key is revoked or expired: create a new one"
        raise InvalidInputError([FieldError(field="", message=message)])
    members = ("user", "name", "scopes", "tenant", "is_bounded", "expires_at")
    issued = issue(session, ApiKey(**{name: getattr(old, name) for name in members}))
    ends = utc_now() + overlap
    old.expires_at = min(old.expires_at or ends, ends)
    session.flush()
    return issued


def parse_key(text: str) -> ParsedKey | None:
    """Parse the text of a key; return None if it has another form."""
    match = _KEY.fullmatch(text)
    if match is None or int(match[1]) > MAX_ID:
        return None
    return ParsedKey(id=int(match[1]), hash=_hash(match[2]))


def authenticate(session: Session, text: str) -> Principal | None:
    """Return the principal of the key with this text, or None if it is not valid (any more)."""
    parsed = parse_key(text)
    key = session.get(ApiKey, parsed.id, options=_WITH_ROLES) if parsed else None
    expected = key.secret_hash if key else _NO_HASH
    # Compared even if the key does not exist, so that timing does not reveal which ids exist.
    is_right = hmac.compare_digest(parsed.hash if parsed else _hash(""), expected)
    return principal_of(key) if key and parsed and is_right and _is_live(key) else None


def find_live_key(session: Session, key_id: int) -> Principal | None:
    """Return the principal of a key, or None if the key is not valid (any more).

    For a caller that has authenticated with this key before.
    """
    key = session.get(ApiKey, key_id, options=_WITH_ROLES)
    return principal_of(key) if key and _is_live(key) else None


def is_administrator(user: User) -> bool:
    """Return whether the user has an `admin` key that is valid while active, or such a role."""
    return any(ADMIN in role.scopes for role in user.roles) or any(
        _is_unspent(key) and ADMIN in key.scopes for key in user.keys
    )


def require_grantable(scopes: Iterable[str], user: User) -> None:
    """Refuse scopes that no role of the user has.

    Raises:
        InvalidInputError: the message names them.
    """
    held = {scope for role in user.roles for scope in role.scopes}
    if missing := [scope for scope in scopes if not permits(held, scope)]:
        message = f"no role of the user has {', '.join(missing)}: assign one first"
        raise InvalidInputError([FieldError(field="scopes", message=message)])


def list_keys(session: Session, *, user_id: int | None = None) -> list[ApiKey]:
    """Return all keys, or those of a user, with their users, oldest first."""
    statement = select(ApiKey).options(joinedload(ApiKey.user)).order_by(ApiKey.id)
    if user_id is not None:
        statement = statement.where(ApiKey.user_id == user_id)
    return list(session.scalars(statement))


def get_key(session: Session, key_id: int) -> ApiKey:
    """Return the key with this id.

    Raises:
        NotFoundError: the key does not exist.
    """
    is_id = 0 < key_id <= MAX_ID
    key = session.get(ApiKey, key_id, options=[joinedload(ApiKey.user)]) if is_id else None
    if key is None:
        raise NotFoundError(f"Key {key_id} does not exist.")
    return key


def revoke_key(session: Session, key_id: int) -> ApiKey:
    """Revoke a key; a key that was revoked before is unchanged.

    Processes that have verified it forget it within `AUDITSPAN_KEY_CACHE_SECONDS`.

    Raises:
        NotFoundError: the key does not exist.
    """
    key = get_key(session, key_id)
    key.revoked_at = key.revoked_at or utc_now()
    session.flush()
    return key


def _is_live(key: ApiKey) -> bool:
    return key.user.active and _is_unspent(key)


def _is_unspent(key: ApiKey) -> bool:
    expired = key.expires_at is not None and key.expires_at <= utc_now()
    return key.revoked_at is None and not expired


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
