"""Second connections to the database that a connection reads, for other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.pool import NullPool

from auditspan.storage import lift_time_limits
from auditspan.storage.dialects import DIALECTS, PerDialect

_SETTINGS = ("search_path", "role")
_TRANSLATED = "schema_translate_map"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Parameters for reading the same database, on PostgreSQL in the same snapshot.

    Attributes:
        url: the database, without its password.
        parameters: the arguments of the driver, with the password.
        snapshot: the exported snapshot, which lives as long as the transaction that exported it.
        settings: settings of the session that decide what is read.
        schemas: the schemas that stand for others (`schema_translate_map`).
    """

    url: URL
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    snapshot: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    schemas: Mapping[str | None, str | None] | None = None

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Open a connection that reads one snapshot."""
        engine = create_engine(
            self.url, connect_args=dict(self.parameters), poolclass=NullPool, hide_parameters=True
        )
        options: dict[str, Any] = {"postgresql_readonly": True, **DIALECTS.of(engine).SNAPSHOT}
        options[_TRANSLATED] = self.schemas
        with engine.connect().execution_options(**options) as connection:
            if self.snapshot:
                connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{self.snapshot}'")
            for name, value in self.settings.items():
                setting = {"name": name, "value": value}
                connection.execute(text("SELECT set_config(:name, :value, true)"), setting)
            DIALECTS.of(connection).require_snapshot(connection)
            lift_time_limits(connection)
            yield connection


def source_of(connection: Connection) -> Source | None:
    """Return the parameters for another process; None if it cannot read the database.

    Its changes that are not committed yet are not part of the snapshot.
    """
    source = _SOURCE.of(connection)(connection)
    schemas = connection.get_execution_options().get(_TRANSLATED)
    return replace(source, schemas=schemas) if source else None


def _exported(connection: Connection) -> Source | None:
    """Use the parameters of this connection, which only psycopg reports."""
    info = getattr(connection.connection.driver_connection, "info", None)
    if connection.dialect.driver != "psycopg" or info is None:
        return None
    current = "SELECT current_setting(:name)"
    return Source(
        url=URL.create("postgresql+psycopg"),
        parameters={**info.get_parameters(), "password": info.password},
        snapshot=connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one(),
        settings={
            name: connection.execute(text(current), {"name": name}).scalar_one()
            for name in _SETTINGS
        },
    )


def _file(connection: Connection) -> Source | None:
    """Open the same file: the trail only grows, so that a later snapshot has the same rows."""
    databases = connection.exec_driver_sql("PRAGMA database_list")
    files = {name: file for _, name, file in databases}
    is_plain = connection.dialect.driver == "pysqlite" and files.get("main")
    return Source(url=URL.create("sqlite", database=files["main"])) if is_plain else None


_SOURCE = PerDialect[Callable[[Connection], Source | None]](postgresql=_exported, sqlite=_file)
