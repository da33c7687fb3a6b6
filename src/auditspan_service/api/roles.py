"""`/v1/roles` and `/v1/users/<id>/roles`: roles, and the roles of users."""

from __future__ import annotations

import re

from flask import Blueprint, Response, jsonify

from auditspan_service.accounts import roles as use_cases
from auditspan_service.accounts.scopes import ADMIN
from auditspan_service.accounts.users import get_user
from auditspan_service.api.auth import requires
from auditspan_service.api.body import ignore_body, json_body
from auditspan_service.api.current import services
from auditspan_service.api.query import parameters
from auditspan_service.api.resources import role_resource
from auditspan_service.api.users import row_id, without_body
from auditspan_service.errors import NotFoundError
from auditspan_service.schemas import RoleScopes, read

roles = Blueprint("roles", __name__, url_prefix="/v1")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")


@roles.get("/roles")
@requires("users:read")
def search() -> Response:
    """Return all roles with their scopes."""
    parameters(())
    with services().database.reading() as session:
        found = use_cases.list_roles(session)
    items = [role_resource(name, scopes) for name, scopes in found.items()]
    return jsonify({"items": items, "next": None})


@roles.put("/roles/<role>")
@requires(ADMIN)
def put(role: str) -> Response:
    """Create a role, or replace its scopes, which counts for its users at once."""
    wanted = read(RoleScopes, json_body())
    with services().database.writing() as session:
        made = use_cases.put_role(session, _name(role), wanted.scopes)
        return jsonify(role_resource(made.name, made.scopes))


@roles.delete("/roles/<role>")
@requires(ADMIN)
def delete(role: str) -> Response:
    """Delete a role that no user has."""
    with services().database.writing() as session:
        use_cases.delete_role(session, _name(role))
    return without_body()


@roles.get("/users/<id>/roles")
@requires("users:read")
def of_user(id: str) -> Response:
    """Return the roles of a user."""
    parameters(())
    with services().database.reading() as session:
        held = get_user(session, row_id(id)).roles
        items = [role_resource(role.name, role.scopes) for role in held]
    return jsonify({"items": items, "next": None})


@roles.put("/users/<id>/roles/<role>")
@requires(ADMIN)
def assign(id: str, role: str) -> Response:
    """Give a role to a user."""
    ignore_body()
    with services().database.writing() as session:
        use_cases.assign_role(session, row_id(id), _name(role))
    return without_body()


@roles.delete("/users/<id>/roles/<role>")
@requires(ADMIN)
def withdraw(id: str, role: str) -> Response:
    """Take a role from a user."""
    with services().database.writing() as session:
        use_cases.withdraw_role(session, row_id(id), _name(role))
    return without_body()


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise NotFoundError("No role has this name: names are lowercase letters, digits, - and _.")
    return text
