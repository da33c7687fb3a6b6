"""Conversion of exceptions to problem documents, without the text of unexpected exceptions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from auditspan import AuditWriteError
from auditspan.telemetry import type_name, without_values
from auditspan_service.api.problems import Problem
from auditspan_service.errors import (
    DuplicateError,
    InUseError,
    InvalidInputError,
    NotFoundError,
    ServiceError,
    StaleError,
)

_RETRY_SECONDS = "2"
_LATER = ("08", "25006", "25P03", "25P04", "40", "42P01", "53", "55", "57", "58")
"""SQLSTATEs, or their classes, of temporary errors: lost connections, a server that is read-only
after a failover, timeouts of idle and long transactions, conflicts, a schema that is not migrated
yet, insufficient resources, locks, shutdown and start, system errors."""

_KINDS: dict[type[ServiceError], str] = {
    NotFoundError: "not-found",
    DuplicateError: "duplicate",
    InUseError: "in-use",
    StaleError: "stale",
}
_DETAILS = {
    HTTPStatus.NOT_FOUND: "This path does not exist.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This path does not support this method: see Allow.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than this service accepts.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "An internal error occurred. It was logged with this trace "
    "id.",
}

_logger = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Answer every error of this application with a problem document.

    Unexpected exceptions go through Flask's own `handle_exception`, which logs them with their
    stack trace and lets the instrumentation mark the span.
    """
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(Problem, Problem.response)
    app.register_error_handler(InvalidInputError, _invalid)
    for error, kind in _KINDS.items():
        app.register_error_handler(error, _explained(kind))
    app.register_error_handler(StaleDataError, _stale)
    app.register_error_handler(AuditWriteError, _unavailable)
    app.register_error_handler(PoolTimeoutError, _unavailable)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(HTTPException, _http_error)


def _explained(kind: str) -> Callable[[ServiceError], Response]:
    def handle(error: ServiceError) -> Response:
        return Problem.of(kind, error.message).response()

    return handle


def _invalid(error: InvalidInputError) -> Response:
    detail = "The body is well-formed, but some of its members are invalid: see errors."
    return Problem.of("invalid-members", detail, errors=error.errors).response()


def _stale(_error: StaleDataError) -> Response:
    return Problem.of("stale", StaleError().message).response()


def _unavailable(error: Exception) -> Response:
    # Without a stack trace: this is logged for every request while the database is down.
    _logger.error("request refused, because the database is unavailable: %s", _cause(error))
    detail = "The database cannot serve this request now. Nothing was changed."
    return Problem.of("unavailable", detail, headers={"Retry-After": _RETRY_SECONDS}).response()


def _cause(error: BaseException) -> str:
    """Return the database's message, without values."""
    known = error.__cause__ if isinstance(error, AuditWriteError) else error
    if isinstance(known, DBAPIError) and known.orig is not None:
        return without_values(known.orig)
    return error.message if isinstance(error, AuditWriteError) else type_name(error)


def _outcome_unknown(error: DBAPIError) -> Response:
    _logger.error("the database connection was lost during COMMIT: %s", _cause(error))
    detail = "The database connection was lost during COMMIT: check whether the change was made."
    return Problem.of("outcome-unknown", detail, headers={"Retry-After": _RETRY_SECONDS}).response()


def _database_error(error: DBAPIError) -> Response:
    if _is_lost_in_commit(error):
        return _outcome_unknown(error)
    if _is_unavailable(error):
        return _unavailable(error)
    raise error  # a bug in the service: logged and answered like any other


def _is_lost_in_commit(error: DBAPIError) -> bool:
    """Return whether the connection may have been lost during COMMIT.

    In other cases the error has a statement, or there never was a connection. A ROLLBACK on a lost
    connection looks the same, and is also reported as an unknown outcome, to be safe.
    """
    return error.connection_invalidated and error.statement is None


def _is_unavailable(error: DBAPIError) -> bool:
    """Return whether the error is temporary: see `_LATER`."""
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return True
    return str(getattr(error.orig, "sqlstate", "")).startswith(_LATER)


def _http_error(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST or error.response is not None:
        return error  # a redirect, or a complete response
    status = HTTPStatus(error.code)
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    detail = _DETAILS.get(status) or error.description or status.description
    return Problem(status=status, title=status.phrase, detail=detail, headers=headers).response()
