"""Scopes: what keys, tokens and roles permit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from auditspan_service.errors import FieldError, InvalidInputError

ADMIN = "admin"
ERASE = "users:erase"
ON_BEHALF_OF = "audit:on-behalf-of"
PURGE = "audit:purge"
SCOPES = (
    *("users:read", "users:write", ERASE, "keys:read", "keys:write"),
    *("audit:read", "audit:write", ON_BEHALF_OF, PURGE, ADMIN),
)
"""The scopes of a key: each permits some routes, and `admin` permits all but those of `PURGE`.
`ON_BEHALF_OF` permits the member `on_behalf_of` in events that are recorded with `audit:write`."""

NOT_WITH_PURGE = frozenset(
    {"users:write", ERASE, "keys:write", "audit:write", ON_BEHALF_OF, ADMIN},
)
"""The scopes that write, and so cannot be combined with `PURGE` (separation of duties)."""

OF_TENANTS = ("audit:read", "audit:write", ON_BEHALF_OF)
"""The scopes that a tenant's key may have: users, keys and roles belong to no tenant."""

ROLES: Mapping[str, tuple[str, ...]] = {
    "admin": (ADMIN,),
    "auditor": ("audit:read",),
    "purger": (PURGE,),
    "writer": (ON_BEHALF_OF, "audit:write"),
}
"""The roles that always exist, with their scopes, which cannot be changed."""


def permits(scopes: Collection[str], scope: str) -> bool:
    """Return whether these scopes permit what `scope` permits."""
    return scope in scopes or (ADMIN in scopes and scope != PURGE)


def separated(scopes: Collection[str]) -> frozenset[str]:
    """Return the scopes without `PURGE`, if others of them write."""
    found = frozenset(scopes)
    return found - {PURGE} if found & NOT_WITH_PURGE else found


def require_separate(scopes: Collection[str], *, field: str) -> None:
    """Refuse scopes that both write and purge.

    Raises:
        InvalidInputError: `PURGE` is combined with a scope that writes.
    """
    writing = sorted(NOT_WITH_PURGE.intersection(scopes))
    if PURGE in scopes and writing:
        others = ", ".join(writing)
        message = f"{PURGE} cannot be combined with {others}: separation of duties"
        raise InvalidInputError([FieldError(field=field, message=message)])


def checked_scopes(
    scopes: Iterable[str], *, tenant: str | None = None, field: str = "scopes"
) -> list[str]:
    """Return the scopes sorted, each once.

    Raises:
        InvalidInputError: a scope is unknown or not for keys of tenants, none was given, or they
            both write and purge.
    """
    wanted = sorted(set(scopes))
    known = SCOPES if tenant is None else OF_TENANTS
    unknown = [scope for scope in wanted if scope not in known]
    if unknown or not wanted:
        problem = f"{', '.join(unknown)} is unknown" if unknown else "at least one is required"
        if tenant is not None and unknown:
            problem = f"{', '.join(unknown)} is not for the key of a tenant"
        message = f"{problem}; the scopes are {', '.join(known)}"
        raise InvalidInputError([FieldError(field=field, message=message)])
    require_separate(wanted, field=field)
    return wanted
