"""Services, trail and engine of a command, closed when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event

from auditspan import Actor, audit_context
from auditspan.dialects import DIALECTS
from auditspan.storage import AuditTables, audit_tables, lift_time_limits
from auditspan_service.config import load_settings
from auditspan_service.database.data_directory import database_file
from auditspan_service.database.engine import Database, make_engine
from auditspan_service.database.schema import SchemaState, inspect_schema
from auditspan_service.errors import SchemaError
from auditspan_service.models import Base
from auditspan_service.services import Services, open_services, silent_telemetry

ACTOR = Actor.system("auditspan-cli")
"""The recorded actor of changes that a command makes."""


@contextmanager
def opened_services() -> Iterator[Services]:
    """Open the services, with the command as actor, on a database with this release's schema.

    Raises:
        SettingsError, KeyFileError, SchemaError: the set-up is incomplete.
    """
    with opened_engine() as engine:
        _require_current(engine)
    services = open_services(load_settings(), silent_telemetry())
    try:
        with audit_context(actor=ACTOR):
            yield services
    finally:
        services.database.dispose()


@contextmanager
def opened_trail() -> Iterator[tuple[Connection, AuditTables]]:
    """Open the trail for reading one snapshot; `rollback` on the connection takes a new one.

    Raises:
        SettingsError, SchemaError: the set-up is incomplete.
    """
    database = Database.connect(load_settings().database_url)
    try:
        _require_current(database.engine)
        with database.reader.connect() as connection:
            connection.execution_options(**DIALECTS.of(connection).SNAPSHOT)
            event.listen(connection, "begin", lift_time_limits)
            yield connection, audit_tables(Base.metadata)
    finally:
        database.dispose()


@contextmanager
def opened_engine() -> Iterator[Engine]:
    """Open an engine and close its connections afterwards."""
    engine = make_engine(load_settings().database_url)
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


def _require_current(engine: Engine) -> None:
    state = schema_state(engine)
    if not state.is_current:
        raise SchemaError(state.sentence())
