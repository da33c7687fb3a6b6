"""Entity tags: the version of a row, and the conditions that a request may set on it."""

from __future__ import annotations

from flask import request

from auditspan_service.api.problems import Problem
from auditspan_service.errors import StaleError
from auditspan_service.models import User


def etag(user: User) -> str:
    """The strong entity tag of a user (RFC 9110 §8.8.3)."""
    return f'"{user.version}"'


def require_match(user: User) -> None:
    """Let a change through only for a client that knows what it changes.

    Raises:
        Problem: the request has no If-Match.
        StaleError: its If-Match names another version.
    """
    wanted = request.if_match
    if "If-Match" not in request.headers:
        raise Problem.of(
            "precondition-required", 'Send If-Match with the ETag that you read, such as "3".'
        )
    if not wanted.contains(str(user.version)):
        raise StaleError


def is_known(user: User) -> bool:
    """Whether the client says that it has this version already (If-None-Match)."""
    return "If-None-Match" in request.headers and request.if_none_match.contains_weak(
        str(user.version)
    )
