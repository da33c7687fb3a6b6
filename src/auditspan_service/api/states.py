"""`/v1/states/<type>/<id>`: the state of an object of the service at a time."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, jsonify
from sqlalchemy import Connection
from sqlalchemy.exc import DataError

from auditspan import AuditBodyError, AuditConfigError, PurgedError, State, Target
from auditspan_service.api.auth import requires, tenant
from auditspan_service.api.current import services
from auditspan_service.api.problems import Problem
from auditspan_service.api.query import malformed, parameters, time
from auditspan_service.errors import NotFoundError

states = Blueprint("states", __name__, url_prefix="/v1/states")


@states.get("/<type>/<path:id>")
@requires("audit:read")
def get(type: str, id: str) -> Response:
    """Return the columns and links that an object had at a time, by the events up to then."""
    given = parameters(("at",))
    if "at" not in given:
        raise malformed("at is required: a time (ISO 8601), as in 2026-01-31T12:00:00Z.")
    state = _state(Target(type=type, id=id), time("at", given["at"]))
    return jsonify(
        {
            "target": {"type": state.type, "id": state.id, "version": _version(state)},
            "values": dict(state.recorded),
            "links": {name: list(ids) for name, ids in state.links.items()},
            "is_complete": state.is_complete,
            "event_id": state.event.event_id,
        }
    )


def _version(state: State) -> int | None:
    return state.event.target.version if state.event.target else None


def _state(target: Target, at: datetime) -> State:
    """Return the state of an object.

    Raises:
        NotFoundError: there was no such object; a key of a tenant never sees one, because the
            service's own objects belong to no tenant.
        Problem: the events that would say were removed or cannot be read.
    """
    if tenant() is not None:
        raise NotFoundError("No object has this type and id.")

    def read(connection: Connection) -> State | None:
        return services().trail.as_of(connection, target, None, at)

    try:
        state = services().database.search(read)
    except PurgedError as error:
        raise Problem.of("purged", error.sentence) from error
    except AuditBodyError as error:
        raise Problem.of("damaged-trail", error.sentence) from error
    except (AuditConfigError, DataError, OverflowError) as error:
        raise NotFoundError("The service has no objects of this type with such an id.") from error
    if state is None:
        raise NotFoundError("There was no such object at this time.")
    return state
