"""`/v1/audit-events/<id>/proof` and `/v1/checkpoints/latest`: what makes the trail verifiable."""

from __future__ import annotations

import re

from flask import Blueprint, Response, jsonify
from sqlalchemy import Connection

from auditspan import AuditBodyError, AuditConfigError, NotSealedError
from auditspan.reading import EventProof, prove_event
from auditspan.storage import get_event, latest_checkpoint
from auditspan_service.api.audit_events import find_one, is_visible, uuid_of
from auditspan_service.api.auth import requires, tenant
from auditspan_service.api.current import services
from auditspan_service.api.problems import Problem, not_sealed
from auditspan_service.api.query import malformed, parameters
from auditspan_service.errors import NotFoundError

proofs = Blueprint("proofs", __name__, url_prefix="/v1")

_SIZE = re.compile(r"[1-9][0-9]{0,18}")


@proofs.get("/audit-events/<event_id>/proof")
@requires("audit:read")
def prove(event_id: str) -> Response:
    """Return the proof that an event is in the newest checkpoint."""
    wanted, from_size = uuid_of(event_id), _from_size()

    def find(connection: Connection) -> EventProof | None:
        tables = services().trail.tables
        event = get_event(connection, tables, wanted)
        if not (is_visible(event) if event else tenant() is None):
            return None  # the tenant of a purged event is not known
        return prove_event(connection, tables, wanted, from_size=from_size)

    try:
        proof = find_one(find)
    except NotSealedError:
        raise not_sealed("The event is committed, but no checkpoint covers it yet.") from None
    except AuditConfigError as error:
        raise malformed(error.sentence) from error
    except AuditBodyError as error:
        raise Problem.of("damaged-trail", error.sentence) from error
    if proof is None:
        raise NotFoundError("No event has this id.")
    return jsonify(proof.resource())


@proofs.get("/checkpoints/latest")
@requires("audit:read")
def latest() -> Response:
    """Return the newest checkpoint: the size and root of the trail, signed."""
    parameters(())
    tables = services().trail.tables
    newest = services().database.search(lambda connection: latest_checkpoint(connection, tables))
    if newest is None:
        raise NotFoundError("There is no checkpoint yet: nothing is sealed.")
    return jsonify(newest.resource())


def _from_size() -> int | None:
    text = parameters(("from_size",)).get("from_size")
    if text is not None and not _SIZE.fullmatch(text):
        raise malformed("from_size must be the size of an earlier checkpoint.")
    return int(text) if text else None
