"""Probes, for whoever runs the service. No key, no audit, no spans."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from auditspan.delivery import Backlog, read_backlog
from auditspan_service.api.current import services
from auditspan_service.api.problems import Problem
from auditspan_service.database.engine import is_read_only
from auditspan_service.database.schema import inspect_schema

ALIVE_SECONDS = 150.0
"""A worker leaves a sign at least once in so many seconds, with or without something to do."""

health = Blueprint("health", __name__)


@health.get("/healthz")
def alive() -> Response:
    """The process answers. It says nothing of the database: a restart would not mend that."""
    return jsonify({"status": "ok"})


@health.get("/readyz")
def ready() -> Response:
    """Requests can be served: the database takes writes, and has the schema and the trail in it.

    How far the workers are behind is told and changes nothing: what is committed waits in the
    table, and whoever took the service away for it would lose the requests as well.
    """
    try:
        with suppress_instrumentation(), services().database.reader.connect() as connection:
            writes = not is_read_only(connection)
            state = inspect_schema(connection)
            backlog = _backlog(connection) if state.is_current else None
    except SQLAlchemyError:
        raise _not_ready("The database does not answer.") from None
    if not writes:
        services().database.engine.dispose()  # it may be a demoted primary: ask for the new one
        raise _not_ready("The database is read-only: no change can be made now.")
    if backlog is None:
        raise _not_ready(state.sentence())
    return jsonify({"status": "ready", **_told(backlog)})


def _backlog(connection: Connection) -> Backlog:
    settings, tables = services().settings, services().trail.tables
    try:
        return read_backlog(connection, tables, (settings.sink, *settings.more_sinks))
    except SQLAlchemyError:
        raise _not_ready(
            "The audit tables cannot be read: `auditspan doctor` tells what is wrong with them."
        ) from None


def _told(backlog: Backlog) -> dict[str, Any]:
    return {
        "unsealed": asdict(backlog.unsealed),
        "undelivered": {name: asdict(each) for name, each in backlog.undelivered.items()},
        "worker": {
            "running": _is_running(backlog),
            "last_seen_seconds": backlog.last_seen_seconds,
        },
    }


def _is_running(backlog: Backlog) -> bool | None:
    """Whether a worker is at work; None where nobody can tell.

    Where the database does not know who is connected, its signs are looked at.
    """
    if backlog.is_working is not None:
        return backlog.is_working
    seen = backlog.last_seen_seconds
    if seen is not None and seen <= ALIVE_SECONDS:
        return True
    waits = (backlog.unsealed, *backlog.undelivered.values())
    is_late = any((one.oldest_seconds or 0) > ALIVE_SECONDS for one in waits)
    return False if is_late else None


def _not_ready(reason: str) -> Problem:
    return Problem.of("unavailable", reason, headers={"Retry-After": "5"})
