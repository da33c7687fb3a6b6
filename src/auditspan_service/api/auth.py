"""Authentication by bearer API keys, and authorization by scope; denied by default.

Every view below `/v1` declares the scope that it requires with `@requires(scope)`. A view without
it refuses every request, so that a forgotten declaration denies access.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flask import Flask, current_app, g, request

from auditspan import Actor
from auditspan_service.api.access import Flood, record_refusal
from auditspan_service.api.current import services
from auditspan_service.api.problems import Problem
from auditspan_service.api_keys import ADMIN, SCOPES, allows, authenticate, is_administrator
from auditspan_service.models import ApiKey, User

API_PREFIX = "/v1/"
_SCOPE = "auditspan_scope"
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+) *")

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


def protect(app: Flask) -> None:
    """Require a key for every request to a route of the API."""
    flood = Flood()

    def authorise() -> None:
        try:
            _authorise()
        except Problem as refusal:
            if services().settings.record_access:
                record_refusal(flood, refusal)
            raise

    app.before_request(authorise)


def require_scope(scope: str) -> None:
    """Refuse a request whose key lacks a scope that only some bodies require.

    Raises:
        Problem: the key lacks it.
    """
    if not allows(g.auditspan_key, scope):
        raise _forbidden(scope)


def require_rank(user: User) -> None:
    """Refuse a change of an administrator without the scope `admin`.

    Raises:
        Problem: the caller's key lacks the scope `admin`, and the user has one with it.
    """
    if not allows(g.auditspan_key, ADMIN) and is_administrator(user):
        raise Problem.of(
            "forbidden",
            f"Changing or deleting this user requires the scope {ADMIN}, which the user's keys "
            "include.",
        )


def actor() -> Actor:
    """Return the actor of the current request; anonymous until a key has been checked."""
    key: ApiKey | None = g.get("auditspan_key")
    return Actor.user(key.user.id, label=key.user.username) if key else Actor.anonymous()


def _authorise() -> None:
    rule = request.url_rule
    if rule is None or not rule.rule.startswith(API_PREFIX):
        return
    g.auditspan_key = key = _caller()
    scope = required_scope(current_app, rule.endpoint)
    if scope is None or not allows(key, scope):
        raise _forbidden(scope)


def _caller() -> ApiKey:
    header = request.headers.get("Authorization")
    if header is None:
        raise Problem.of(
            "unauthenticated",
            "Send an API key: Authorization: Bearer ask_…",
            headers={"WWW-Authenticate": "Bearer"},
        )
    token = _BEARER.fullmatch(header)
    with services().database.reading() as session:
        key = authenticate(session, token[1]) if token else None
    if key is None:
        raise Problem.of(
            "unauthenticated",
            "This API key is not valid: it is unknown, revoked or expired, or its user is not "
            "active.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return key


def _forbidden(scope: str | None) -> Problem:
    if scope is None:
        return Problem.of("forbidden", "This route declares no scope, so no key can access it.")
    return Problem.of(
        "forbidden",
        f"This API key lacks the scope {scope}.",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
    )
