"""A real PostgreSQL for tests: one server, a template with the schema, a copy of it for each test.

`AUDITSPAN_TEST_DATABASE_URL` names a server to use (its user must be allowed to create databases);
without it one is started from a wheel, in a second, and stopped when Python exits.
"""

from __future__ import annotations

import atexit
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from sqlalchemy import URL, create_engine, make_url, text

from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from support.cluster import Cluster

_VARIABLE = "AUDITSPAN_TEST_DATABASE_URL"


@contextmanager
def empty_database() -> Iterator[str]:
    """The URL of a database without a table, which is dropped afterwards."""
    with _database("template0") as url:
        yield url


@contextmanager
def migrated_database() -> Iterator[str]:
    """The URL of a database with this release's schema, which is dropped afterwards."""
    with _database(_template()) as url:
        yield url


@contextmanager
def _database(template: str) -> Iterator[str]:
    name = f"auditspan_{secrets.token_hex(8)}"
    _administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield _named(name)
    finally:
        # A test that failed may have left connections behind.
        _administer(f'DROP DATABASE "{name}" WITH (FORCE)')


@cache
def _template() -> str:
    name = f"auditspan_template_{secrets.token_hex(8)}"
    _administer(f'CREATE DATABASE "{name}" TEMPLATE template0')
    engine = make_engine(_named(name))
    upgrade(engine)
    engine.dispose()  # a template is copied only while nobody is connected to it
    if _VARIABLE in os.environ:
        atexit.register(_administer, f'DROP DATABASE "{name}" WITH (FORCE)')
    return name


def _administer(statement: str) -> None:
    """Run a statement that is not allowed in a transaction."""
    engine = create_engine(_server(), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


def _named(database: str) -> str:
    return _server().set(database=database).render_as_string(hide_password=False)


@cache
def _server() -> URL:
    """The URL of the server, with a database that is there to connect to."""
    given = os.environ.get(_VARIABLE)
    url = make_url(given or _start())
    return url.set(drivername="postgresql+psycopg")


def _start() -> str:
    cluster = Cluster.make()
    atexit.register(cluster.destroy)
    return cluster.url.render_as_string(hide_password=False)
