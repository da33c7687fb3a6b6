"""Services and engine of a command, closed when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Engine

from auditspan import audit_context
from auditspan.cli.commands import ACTOR
from auditspan_service.config import Settings, load_settings
from auditspan_service.database.data_directory import database_file
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import SchemaState, inspect_schema
from auditspan_service.errors import SchemaError
from auditspan_service.models import utc_now
from auditspan_service.services import Services, open_services, silent_telemetry


@contextmanager
def opened_services(clock: Callable[[], datetime] = utc_now) -> Iterator[Services]:
    """Open the services, with the command as actor, on a database with this release's schema.

    `clock` sets the times of the events.

    Raises:
        SettingsError, KeyFileError, SchemaError: the set-up is incomplete.
    """
    settings = load_settings()
    with opened_engine(settings) as engine:
        require_current(engine)
    services = open_services(settings, silent_telemetry(), clock=clock)
    try:
        with audit_context(actor=ACTOR):
            yield services
    finally:
        services.database.dispose()


@contextmanager
def opened_engine(settings: Settings) -> Iterator[Engine]:
    """Open an engine and close its connections afterwards."""
    engine = make_engine(settings.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def schema_state(engine: Engine) -> SchemaState:
    """Return the state of the schema, without creating a SQLite file.

    Raises:
        SchemaError: the database file does not exist.
    """
    file = database_file(engine.url)
    if file and not file.exists():
        raise SchemaError(f"There is no database at {file}: run `auditspan db upgrade`.")
    with engine.connect() as connection:
        return inspect_schema(connection)


def require_current(engine: Engine) -> None:
    """Refuse a database without this release's schema.

    Raises:
        SchemaError: the schema is not current; `auditspan db upgrade` fixes that.
    """
    state = schema_state(engine)
    if not state.is_current:
        raise SchemaError(state.sentence())
