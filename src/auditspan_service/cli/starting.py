"""Checks of the database before a command starts to serve or to work."""

from __future__ import annotations

import threading

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from auditspan.delivery import Backoff
from auditspan_service.cli.console import say
from auditspan_service.cli.database import opened_engine, schema_state
from auditspan_service.config import Settings
from auditspan_service.database.data_directory import close_data_dir
from auditspan_service.database.guards import require_guarded
from auditspan_service.errors import SchemaError
from auditspan_service.telemetry.exception_text import without_values

_LASTING = ("authentication failed", "does not exist", "no pg_hba.conf", "not permitted to log in")
"""Messages of a server that is up and refuses this client."""


def require_ready(settings: Settings) -> None:
    """Refuse a database with another release's schema, or without guards for the trail.

    First removes other users' access to the files of an embedded database.

    Raises:
        SchemaError: the schema is not current; `auditspan db upgrade` fixes that.
        UnprotectedTrailError: the trail is not guarded, and the settings do not allow that.
    """
    close_data_dir(settings, say=_say)
    with opened_engine() as engine:
        require_current(engine)
        require_guarded(engine, settings, say=_say)


def await_ready(settings: Settings, stop: threading.Event) -> None:
    """Call `require_ready`, and wait while PostgreSQL is starting or unreachable.

    Returns early when `stop` is set.

    Raises:
        SchemaError, UnprotectedTrailError: as `require_ready`.
        DBAPIError: the database refuses this client, so waiting cannot help.
    """
    backoff, said = Backoff(first=0.5), ""
    while not stop.is_set():
        try:
            require_ready(settings)
        except OperationalError as error:
            if settings.is_embedded or not _may_pass(error):
                raise
            if (reason := without_values(error.orig or error)) != said:
                said = reason
                say(f"waiting for the database: {reason}", err=True)
        else:
            return
        stop.wait(backoff.next())


def _may_pass(error: OperationalError) -> bool:
    """Return whether waiting may help; libpq gives no SQLSTATE for a failed connection."""
    return not any(refusal in str(error.orig) for refusal in _LASTING)


def require_current(engine: Engine) -> None:
    """Refuse a database without this release's schema.

    Raises:
        SchemaError: the schema is not current; `auditspan db upgrade` fixes that.
    """
    state = schema_state(engine)
    if not state.is_current:
        raise SchemaError(state.sentence())


def _say(text: str) -> None:
    say(text, err=True)
