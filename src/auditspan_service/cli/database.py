"""What a command works on, for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event

from auditspan import Actor, audit_context
from auditspan.storage import AuditTables, audit_tables, lift_time_limits
from auditspan_service.config import load_settings
from auditspan_service.database.engine import Database, make_engine
from auditspan_service.database.schema import SchemaState, inspect_schema
from auditspan_service.database.sqlite_url import sqlite_file
from auditspan_service.errors import SchemaError
from auditspan_service.models import Base
from auditspan_service.services import Services, open_services, silent_telemetry

ACTOR = Actor.system("auditspan-cli")
"""Who acts, in the trail, when a command changes something."""


@contextmanager
def opened_services() -> Iterator[Services]:
    """The services on a database with this release's schema, with the command as actor.

    Raises:
        SettingsError, KeyFileError, SchemaError: there is something to be set up first.
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
    """The trail for reading, as of one moment; `rollback` on the connection is the next moment.

    Raises:
        SettingsError, SchemaError: there is something to be set up first.
    """
    database = Database.connect(load_settings().database_url)
    try:
        _require_current(database.engine)
        with database.reader.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            event.listen(connection, "begin", lift_time_limits)
            yield connection, audit_tables(Base.metadata)
    finally:
        database.dispose()


@contextmanager
def opened_engine() -> Iterator[Engine]:
    """An engine whose connections are closed afterwards."""
    engine = make_engine(load_settings().database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def schema_state(engine: Engine) -> SchemaState:
    """Where the database stands; looking makes no file.

    Raises:
        SchemaError: there is no database file.
    """
    if engine.dialect.name == "sqlite" and not sqlite_file(engine.url).exists():
        file = sqlite_file(engine.url)
        raise SchemaError(f"There is no database at {file}: run `auditspan db upgrade`.")
    with engine.connect() as connection:
        return inspect_schema(connection)


def _require_current(engine: Engine) -> None:
    state = schema_state(engine)
    if not state.is_current:
        raise SchemaError(state.sentence())
