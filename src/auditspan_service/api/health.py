"""Liveness and readiness probes, without API keys, audit records and spans."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from auditspan.delivery import Backlog, read_backlog
from auditspan.trail.settings import sink_names, undelivered
from auditspan_service.api.current import services
from auditspan_service.api.problems import Problem
from auditspan_service.database.engine import is_read_only
from auditspan_service.database.schema import inspect_schema

ALIVE_SECONDS = 150.0
"""The longest time between two heartbeats of a worker, busy or idle."""

health = Blueprint("health", __name__)


@health.get("/healthz")
def alive() -> Response:
    """Answer that the process is alive; a restart would not fix a database problem."""
    return jsonify({"status": "ok"})


@health.get("/readyz")
def ready() -> Response:
    """Answer whether the database accepts writes and has this release's schema and trail.

    The backlog of the workers is reported, but does not affect readiness: committed rows wait in
    the table, and taking the service out of rotation would only lose requests.
    """
    try:
        with suppress_instrumentation(), services().database.reader.connect() as connection:
            writes = not is_read_only(connection)
            state = inspect_schema(connection)
            backlog = _backlog(connection) if state.is_current else None
    except SQLAlchemyError:
        raise _not_ready("The database does not answer.") from None
    if not writes:
        services().database.engine.dispose()  # it may be a demoted primary
        raise _not_ready("The database is read-only.")
    if backlog is None:
        raise _not_ready(state.sentence())
    return jsonify({"status": "ready", **_backlog_document(backlog)})


def _backlog(connection: Connection) -> Backlog:
    settings, tables = services().settings, services().trail.tables
    try:
        return read_backlog(connection, tables, sink_names(settings))
    except SQLAlchemyError:
        raise _not_ready(
            "The audit tables cannot be read: run `auditspan doctor` to find out why."
        ) from None


def _backlog_document(backlog: Backlog) -> dict[str, Any]:
    return {
        "unsealed": asdict(backlog.unsealed),
        "undelivered": undelivered(backlog, services().settings),
        "worker": {
            "running": _is_running(backlog),
            "last_seen_seconds": backlog.last_seen_seconds,
        },
    }


def _is_running(backlog: Backlog) -> bool | None:
    """Return whether a worker is running, or None if that is unknown.

    If the database cannot list its connections, this relies on heartbeats and waiting rows.
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
