"""Principals: who makes a request, as authentication has found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from auditspan import Actor
from auditspan_service.accounts.scopes import permits, separated
from auditspan_service.models import ApiKey, utc_now


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Caller with what it may do.

    Attributes:
        actor_id: the id of the actor in events.
        label: the label of the actor in events.
        scopes: the scopes that count now.
        tenant: the only tenant whose events it reads and records; None for all.
        expires_at: the time from which it is no longer valid; None without one.
        key_id: the id of its API key; None for a token.
    """

    actor_id: str
    label: str
    scopes: frozenset[str]
    tenant: str | None = None
    expires_at: datetime | None = None
    key_id: int | None = None

    @property
    def actor(self) -> Actor:
        """The actor of its events."""
        return Actor.user(self.actor_id, label=self.label)

    @property
    def is_expired(self) -> bool:
        """True from the time on at which it expires."""
        return self.expires_at is not None and self.expires_at <= utc_now()

    def allows(self, scope: str) -> bool:
        """Return whether it has this scope."""
        return permits(self.scopes, scope)


def principal_of(key: ApiKey) -> Principal:
    """Return the principal of a valid key, with the scopes that its user's roles leave."""
    scopes = frozenset(key.scopes)
    if key.is_bounded:
        held = {scope for role in key.user.roles for scope in role.scopes}
        scopes = frozenset(scope for scope in scopes if permits(held, scope))
    return Principal(
        actor_id=str(key.user.id),
        label=key.user.username,
        scopes=separated(scopes),
        tenant=key.tenant,
        expires_at=key.expires_at,
        key_id=key.id,
    )
