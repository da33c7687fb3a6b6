"""`/v1/users/<id>/erasure`: erasure of a user's values from the trail."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from auditspan_service.accounts.scopes import ERASE
from auditspan_service.api.auth import requires
from auditspan_service.api.body import json_body
from auditspan_service.api.current import services
from auditspan_service.api.users import row_id
from auditspan_service.schemas import NewErasure, read

erasures = Blueprint("erasures", __name__, url_prefix="/v1/users")


@erasures.post("/<id>/erasure")
@requires(ERASE)
def create(id: str) -> Response:
    """Erase the values of a user, who may be deleted already, from the trail."""
    wanted = read(NewErasure, json_body())
    with services().database.writing() as session:
        found = services().trail.erase(session, "user", row_id(id), reason=wanted.reason)
    return jsonify(found.to_dict())
