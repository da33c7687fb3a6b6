"""`/v1/users/<id>/keys` and `/v1/keys`: management of API keys.

A caller can give a key only scopes that it has itself, and that a role of the key's user has.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

from flask import Blueprint, Response, jsonify, url_for
from pydantic import BaseModel
from sqlalchemy.orm import Session

from auditspan_service.accounts import api_keys as use_cases
from auditspan_service.accounts.key_uses import last_uses
from auditspan_service.accounts.scopes import ADMIN, PURGE, checked_scopes
from auditspan_service.accounts.users import get_user
from auditspan_service.api.auth import require_scope, requires
from auditspan_service.api.body import json_body
from auditspan_service.api.current import services
from auditspan_service.api.idempotency import claim
from auditspan_service.api.query import parameters
from auditspan_service.api.resources import key_resource
from auditspan_service.api.users import row_id, without_body
from auditspan_service.models import ApiKey
from auditspan_service.schemas import KeyRotation, NewKey, read

keys = Blueprint("keys", __name__, url_prefix="/v1")


@keys.post("/users/<id>/keys")
@requires("keys:write")
def create(id: str) -> Response:
    """Create a key for a user; the answer is the only one that contains its text."""
    new = read(NewKey, json_body())
    scopes = checked_scopes(new.scopes, tenant=new.tenant)
    _require_own(scopes)

    def issue(session: Session) -> use_cases.IssuedKey:
        user = get_user(session, row_id(id), lock=True)
        use_cases.require_grantable(scopes, user)
        members = new.model_dump() | {"scopes": scopes}
        return use_cases.issue(session, ApiKey(user=user, is_bounded=True, **members))

    return _issued_once(new, issue)


@keys.get("/users/<id>/keys")
@requires("keys:read")
def search(id: str) -> Response:
    """Return the keys of a user, without their texts, oldest first."""
    parameters(())
    with services().database.reading() as session:
        user = get_user(session, row_id(id))
        found = use_cases.list_keys(session, user_id=user.id)
        used = last_uses(session, [key.id for key in found])
        items = [key_resource(key, used.get(key.id)) for key in found]
    return jsonify({"items": items, "next": None})


@keys.get("/keys/<id>")
@requires("keys:read")
def get(id: str) -> Response:
    """Return one key, without its text."""
    parameters(())
    with services().database.reading() as session:
        key = use_cases.get_key(session, row_id(id, "key"))
        return jsonify(key_resource(key, last_uses(session, [key.id]).get(key.id)))


@keys.post("/keys/<id>/rotation")
@requires("keys:write")
def rotate(id: str) -> Response:
    """Create a key that replaces this one, which stays valid for `overlap_seconds`."""
    wanted = read(KeyRotation, json_body())

    def issue(session: Session) -> use_cases.IssuedKey:
        _require_own(use_cases.get_key(session, row_id(id, "key")).scopes)
        overlap = timedelta(seconds=wanted.overlap_seconds)
        return use_cases.rotate_key(session, row_id(id, "key"), overlap=overlap)

    return _issued_once(wanted, issue)


@keys.delete("/keys/<id>")
@requires("keys:write")
def revoke(id: str) -> Response:
    """Revoke a key, effective within some seconds."""
    with services().database.writing() as session:
        _require_own(use_cases.get_key(session, row_id(id, "key")).scopes)
        use_cases.revoke_key(session, row_id(id, "key"))
    return without_body()


def _require_own(scopes: list[str]) -> None:
    """Refuse scopes that the caller does not have: it would gain them by the key.

    An administrator manages keys with `audit:purge`, which it cannot have.
    """
    for scope in scopes:
        require_scope(ADMIN if scope == PURGE else scope)


def _issued_once(wanted: BaseModel, issue: Callable[[Session], use_cases.IssuedKey]) -> Response:
    """Issue a key, once for the Idempotency-Key; a repeat is answered without the key's text."""
    with services().database.writing() as session:
        found = claim(session, wanted)
        issued = issue(session) if found.object_id is None else None
        key = issued.key if issued else use_cases.get_key(session, found.object_id or 0)
        found.remember(key.id)
    response = jsonify({**key_resource(key, None), **({"key": issued.text} if issued else {})})
    response.status_code = HTTPStatus.CREATED if issued else HTTPStatus.OK
    response.headers["Location"] = url_for("keys.get", id=key.id)
    return response
