"""Entity tags of row versions, and conditional requests."""

from __future__ import annotations

from flask import request

from auditspan_service.api.problems import Problem
from auditspan_service.errors import StaleError
from auditspan_service.models import User


def etag(user: User) -> str:
    """Return the strong entity tag of a user (RFC 9110 §8.8.3)."""
    return f'"{user.version}"'


def require_match(user: User) -> None:
    """Require that the request's If-Match names the current version of the user.

    Raises:
        Problem: the request has no If-Match.
        StaleError: the If-Match names another version.
    """
    wanted = request.if_match
    if "If-Match" not in request.headers:
        raise Problem.of(
            "precondition-required",
            'Send If-Match with the ETag of the user that you read, such as "3".',
        )
    if not wanted.contains(str(user.version)):
        raise StaleError


def is_known(user: User) -> bool:
    """Return whether the client already has this version (If-None-Match)."""
    return "If-None-Match" in request.headers and request.if_none_match.contains_weak(
        str(user.version)
    )
