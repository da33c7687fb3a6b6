"""`/v1/users`: management of users."""

from __future__ import annotations

import re
from http import HTTPStatus

from flask import Blueprint, Response, jsonify, url_for

from auditspan_service.accounts import users as use_cases
from auditspan_service.api.auth import require_rank, requires
from auditspan_service.api.body import json_body
from auditspan_service.api.current import services
from auditspan_service.api.etags import etag, is_known, require_match
from auditspan_service.api.idempotency import claim
from auditspan_service.api.pagination import page_response
from auditspan_service.api.query import page, parameters
from auditspan_service.api.resources import user_resource
from auditspan_service.errors import NotFoundError
from auditspan_service.models import User
from auditspan_service.schemas import NewUser, UserChange, read

users = Blueprint("users", __name__, url_prefix="/v1/users")

_KIND = "users"
_ID = re.compile(r"[1-9][0-9]{0,18}")
_MERGE_PATCH = "application/merge-patch+json"  # RFC 7396: what PATCH does here


@users.post("")
@requires("users:write")
def create() -> Response:
    """Add a user, and answer 201 with its Location; a repeat is answered with 200."""
    new = read(NewUser, json_body())
    with services().database.writing() as session:
        found = claim(session, new)
        known = found.object_id
        user = use_cases.get_user(session, known) if known else use_cases.create_user(session, new)
        found.remember(user.id)
    response = _show(user, HTTPStatus.OK if known else HTTPStatus.CREATED)
    response.headers["Location"] = url_for("users.get", id=user.id)
    return response


@users.get("")
@requires("users:read")
def search() -> Response:
    """Return a page of all users in the order of their ids."""
    wanted = page(parameters(("limit", "cursor")), _KIND)
    with services().database.reading() as session:
        found = use_cases.list_users(session, after=wanted.position, limit=wanted.limit + 1)
    return page_response(found, wanted, kind=_KIND, row_id=lambda user: user.id, show=user_resource)


@users.get("/<id>")
@requires("users:read")
def get(id: str) -> Response:
    """Return one user, or 304 if the client already has this version."""
    with services().database.reading() as session:
        user = use_cases.get_user(session, row_id(id))
    if is_known(user):
        return without_body(HTTPStatus.NOT_MODIFIED, {"ETag": etag(user)})
    return _show(user)


@users.patch("/<id>")
@requires("users:write")
def change(id: str) -> Response:
    """Change the given members if the user has not changed since it was read."""
    wanted = read(UserChange, json_body(_MERGE_PATCH))
    with services().database.writing() as session:
        user = use_cases.change_user(session, row_id(id), wanted, _require_allowed)
    return _show(user)


@users.delete("/<id>")
@requires("users:write")
def delete(id: str) -> Response:
    """Delete a user and all of its keys if the user has not changed since it was read."""
    with services().database.writing() as session:
        use_cases.delete_user(session, row_id(id), _require_allowed)
    return without_body()


def _require_allowed(user: User) -> None:
    require_rank(user)
    require_match(user)


def _show(user: User, status: HTTPStatus = HTTPStatus.OK) -> Response:
    response = jsonify(user_resource(user))
    response.status_code = status
    response.headers["ETag"] = etag(user)
    return response


def without_body(
    status: HTTPStatus = HTTPStatus.NO_CONTENT, headers: dict[str, str] | None = None
) -> Response:
    """Return a response that has no content, nor a type of it."""
    response = Response(status=status, headers=headers)
    del response.headers["Content-Type"]
    return response


def row_id(text: str, kind: str = "user") -> int:
    """Return the id in a path.

    Raises:
        NotFoundError: nothing can have this id.
    """
    # Not a converter of the route: the route is recorded in every audit body, as `/v1/users/<id>`.
    if not _ID.fullmatch(text):
        raise NotFoundError(f"No {kind} has this id.")
    return int(text)
