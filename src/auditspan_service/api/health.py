"""Probes, for whoever runs the service. No key, no audit, no spans."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy.exc import SQLAlchemyError

from auditspan_service.api.current import services
from auditspan_service.api.problems import Problem
from auditspan_service.migrate import SchemaState, inspect_schema

health = Blueprint("health", __name__)


@health.get("/healthz")
def alive() -> Response:
    """The process answers. It says nothing of the database: a restart would not mend that."""
    return jsonify({"status": "ok"})


@health.get("/readyz")
def ready() -> Response:
    """Requests can be served: the database answers and has this release's schema."""
    try:
        with suppress_instrumentation(), services().database.reader.connect() as connection:
            state = inspect_schema(connection)
    except SQLAlchemyError:
        raise _not_ready("The database does not answer.") from None
    if not state.is_current:
        raise _not_ready(_reason(state))
    return jsonify({"status": "ready"})


def _reason(state: SchemaState) -> str:
    return state.sentence()


def _not_ready(reason: str) -> Problem:
    return Problem.of("unavailable", reason, headers={"Retry-After": "5"})
