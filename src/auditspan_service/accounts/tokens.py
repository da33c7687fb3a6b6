"""Bearer tokens (JWT, RFC 7519) of an identity provider, checked against its JWKS (RFC 7517).

Off unless `AUDITSPAN_JWT_JWKS_URL` is set. PyJWT, which the extra `jwt` installs, checks signature,
issuer, audience and times; algorithms with a shared secret are refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from auditspan.errors import AuditConfigError
from auditspan_service.accounts.principals import Principal
from auditspan_service.accounts.scopes import ADMIN, OF_TENANTS, SCOPES, separated
from auditspan_service.config import Settings
from auditspan_service.errors import KeysUnavailableError

if TYPE_CHECKING:
    from jwt import PyJWK

_LIFESPAN = 300
"""The time in seconds after which the JWKS is fetched again."""

_TIMEOUT = 5
_REFETCH = 10.0
"""The shortest time in seconds between two fetches because of unknown keys."""

_LEEWAY = 30
"""The tolerated difference of the clocks in seconds."""

_CLAIMS = ["exp", "iss", "aud", "sub"]


class TokenVerifier:
    """Verifier of the tokens of one issuer for one audience."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Create a verifier; the JWKS is fetched when the first token is checked.

        Raises:
            AuditConfigError: the extra `jwt` is not installed.
        """
        try:
            from jwt import PyJWKClient
        except ImportError as error:
            raise AuditConfigError(
                "AUDITSPAN_JWT_JWKS_URL is set, but PyJWT is not installed: install auditspan[jwt]"
            ) from error
        self._settings = settings
        self._client = PyJWKClient(str(settings.jwt_jwks_url), lifespan=_LIFESPAN, timeout=_TIMEOUT)
        self._clock = clock
        self._refetched = float("-inf")
        self._lock = threading.Lock()

    def find(self, text: str) -> Principal | None:
        """Return the principal of a token, or None if the token is not valid.

        Raises:
            KeysUnavailableError: the JWKS cannot be fetched.
        """
        import jwt

        settings = self._settings
        try:
            key = self._key(str(jwt.get_unverified_header(text).get("kid")))
            if key is None:
                return None
            claims = jwt.decode(
                text,
                key,
                algorithms=list(settings.jwt_algorithms),
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                leeway=_LEEWAY,
                options={"require": _CLAIMS},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise KeysUnavailableError from error
        except jwt.PyJWTError:
            return None
        return self._principal(claims)

    def _key(self, key_id: str) -> PyJWK | None:
        """Return the key with this id; an unknown one may be new, so the keys are fetched again."""
        found = _by_id(self._client.get_signing_keys(), key_id)
        if found is None and self._may_refetch():
            found = _by_id(self._client.get_signing_keys(refresh=True), key_id)
        return found

    def _may_refetch(self) -> bool:
        with self._lock:
            is_due = self._clock() - self._refetched >= _REFETCH
            if is_due:
                self._refetched = self._clock()
            return is_due

    def _principal(self, claims: Mapping[str, Any]) -> Principal | None:
        settings, subject = self._settings, claims["sub"]
        tenant = claims.get(settings.jwt_tenant_claim) if settings.jwt_tenant_claim else None
        if settings.jwt_tenant_claim and not (isinstance(tenant, str) and tenant):
            return None  # without its tenant, the token would be for all
        scopes = separated(self._scopes(claims.get(settings.jwt_scopes_claim)))
        return Principal(
            # A prefix, since ids of users are numbers that a subject could have as well.
            actor_id=f"jwt:{subject}",
            label=str(claims.get("preferred_username") or subject),
            scopes=scopes & frozenset(OF_TENANTS) if tenant else scopes,
            tenant=tenant,
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )

    def _scopes(self, claim: object) -> frozenset[str]:
        """Return our scopes for a claim: a list, or text with spaces (RFC 8693)."""
        given = claim.split() if isinstance(claim, str) else claim
        mapping = self._settings.jwt_scopes or {one: one for one in SCOPES if one != ADMIN}
        if not isinstance(given, list):
            return frozenset()
        return frozenset(mapping[one] for one in given if isinstance(one, str) and one in mapping)


def _by_id(keys: list[PyJWK], key_id: str) -> PyJWK | None:
    return next((key for key in keys if key.key_id == key_id), None)
