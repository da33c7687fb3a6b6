"""Authentication by bearer API keys or tokens, and authorization by scope; denied by default.

Every view below `/v1` declares the scope that it requires with `@requires(scope)`. A view without
it refuses every request, so that a forgotten declaration denies access.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from flask import Flask, current_app, g, request

from auditspan import Actor
from auditspan_service.accounts.api_keys import is_administrator
from auditspan_service.accounts.authenticator import Authenticator
from auditspan_service.accounts.principals import Principal
from auditspan_service.accounts.scopes import ADMIN, SCOPES
from auditspan_service.api.limits import RateLimits
from auditspan_service.api.problems import Problem
from auditspan_service.errors import KeysUnavailableError
from auditspan_service.models import User
from auditspan_service.services import Services

API_PREFIX = "/v1/"
PRINCIPAL = "auditspan_principal"
"""The member of `flask.g` with the principal of the current request."""

GATE = "auditspan_service.gate"
"""The key of the authenticator and the rate limits in `app.extensions`."""

_SCOPE = "auditspan_scope"
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+) *")

_logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")


def requires(scope: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Mark a view with the scope that a caller's key needs."""
    if scope not in SCOPES:
        raise ValueError(f"invalid scope {scope!r}: expected one of {', '.join(SCOPES)}")

    def mark(view: Callable[_P, _R]) -> Callable[_P, _R]:
        setattr(view, _SCOPE, scope)
        return view

    return mark


def required_scope(app: Flask, endpoint: str) -> str | None:
    """Return the scope that the view of this endpoint declares."""
    scope: str | None = getattr(app.view_functions.get(endpoint), _SCOPE, None)
    return scope


def protect(app: Flask, services: Services) -> None:
    """Require a key or token for every request to a route of the API."""
    gate = _Gate(
        authenticator=Authenticator(services.settings, services.database),
        limits=RateLimits(services.settings),
    )
    app.extensions[GATE] = gate
    app.before_request(gate.authorise)


def write_key_uses(app: Flask) -> None:
    """Write the last uses of keys now, which would be written after the database is closed."""
    gate: _Gate = app.extensions[GATE]
    gate.authenticator.uses.write()


def sign_in(text: str) -> Principal | None:
    """Return the principal of an API key that was given in a form, or None if it is not valid.

    Raises:
        Problem: the client has failed too often.
    """
    gate: _Gate = current_app.extensions[GATE]
    found = gate.authenticator.find_key(text)
    if found is None:
        gate.limits.count_failure(request.remote_addr)
    return found


def caller() -> Principal:
    """Return the principal of the current request, which was authenticated."""
    found: Principal = getattr(g, PRINCIPAL)
    return found


def tenant() -> str | None:
    """Return the only tenant whose events the current request concerns; None for all."""
    found: Principal | None = g.get(PRINCIPAL)
    return found.tenant if found else None


def require_scope(scope: str) -> None:
    """Refuse a request whose key lacks a scope that only some bodies require.

    Raises:
        Problem: the key lacks it.
    """
    if not caller().allows(scope):
        raise _forbidden(scope)


def require_rank(user: User) -> None:
    """Refuse a change of an administrator without the scope `admin`.

    Raises:
        Problem: the caller's key lacks the scope `admin`, and the user has one with it.
    """
    if not caller().allows(ADMIN) and is_administrator(user):
        raise Problem.of(
            "forbidden",
            f"Changing or deleting this user requires the scope {ADMIN}, which the user's keys "
            "include.",
        )


def actor() -> Actor:
    """Return the actor of the current request; anonymous until a key has been checked."""
    found: Principal | None = g.get(PRINCIPAL)
    return found.actor if found else Actor.anonymous()


@dataclass(frozen=True, kw_only=True)
class _Gate:
    """Authentication and authorization of the requests of an application."""

    authenticator: Authenticator
    limits: RateLimits

    def authorise(self) -> None:
        """Authenticate and authorize the current request.

        Raises:
            Problem: the request is refused.
        """
        rule = request.url_rule
        if rule is None or not rule.rule.startswith(API_PREFIX):
            return
        found = self._authenticated()
        setattr(g, PRINCIPAL, found)
        self.limits.count_request(found.actor_id if found.key_id is None else str(found.key_id))
        scope = required_scope(current_app, rule.endpoint)
        if scope is None or not found.allows(scope):
            raise _forbidden(scope)

    def _authenticated(self) -> Principal:
        header = request.headers.get("Authorization")
        token = _BEARER.fullmatch(header) if header is not None else None
        try:
            found = self.authenticator.find(token[1]) if token else None
        except KeysUnavailableError as error:
            raise _keys_unavailable() from error
        if found is None:
            self.limits.count_failure(request.remote_addr)
            raise _unauthenticated(is_missing=header is None)
        return found


def _unauthenticated(*, is_missing: bool) -> Problem:
    if is_missing:
        detail, challenge = "Send an API key: Authorization: Bearer ask_…", "Bearer"
    else:
        challenge = 'Bearer error="invalid_token"'
        detail = (
            "This API key is not valid: it is unknown, revoked or expired, or its user is not "
            "active."
        )
    return Problem.of("unauthenticated", detail, headers={"WWW-Authenticate": challenge})


def _keys_unavailable() -> Problem:
    _logger.error("no token can be checked, because the JWKS cannot be fetched")
    detail = "The keys of the identity provider cannot be fetched, so this token is not checked."
    return Problem.of("unavailable", detail, headers={"Retry-After": "5"})


def _forbidden(scope: str | None) -> Problem:
    if scope is None:
        return Problem.of("forbidden", "This route declares no scope, so no key can access it.")
    return Problem.of(
        "forbidden",
        f"This API key lacks the scope {scope}.",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
    )
