"""A real PostgreSQL for tests: one server, a template with the schema, a copy of it for each test.

`AUDITSPAN_TEST_DATABASE_URL` names a server to use (its user must be allowed to create databases);
without it one is started from a wheel, in a second, and stopped at the end.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psycopg
from sqlalchemy import URL, make_url

from support.cluster import Cluster
from support.ending import ENDING

_VARIABLE = "AUDITSPAN_TEST_DATABASE_URL"
_HAS_STRATEGY = 150000


@contextmanager
def empty_database() -> Iterator[str]:
    """The URL of a database without a table, which is dropped some tests later."""
    with copied_database(_empty_template()) as url:
        yield url


@contextmanager
def migrated_database() -> Iterator[str]:
    """The URL of a database with this release's schema, which is dropped some tests later."""
    with copied_database(_migrated_template()) as url:
        yield url


@contextmanager
def copied_database(template: str) -> Iterator[str]:
    """The URL of a copy of a database without connections; it is dropped some tests later."""
    name = f"auditspan_{secrets.token_hex(8)}"
    _administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{_strategy()}')
    try:
        yield url_of(name)
    finally:
        _drop_later(name)


_leaving: deque[str] = deque()
_LEFT_BEHIND = 4


def _drop_later(name: str) -> None:
    """Drop the database when some others have followed it.

    The server waits a tenth of a second for each connection that is still ending.
    """
    _leaving.append(name)
    if len(_leaving) > _LEFT_BEHIND:
        _drop(_leaving.popleft())


def _drop(name: str) -> None:
    # A test that failed may have left connections behind.
    _administer(f'DROP DATABASE "{name}" WITH (FORCE)')


def _drop_all() -> None:
    while _leaving:
        _drop(_leaving.popleft())


@cache
def _empty_template() -> str:
    return new_template()


@cache
def _migrated_template() -> str:
    # The library is also tested without what the service needs.
    from auditspan_service.database.engine import make_engine  # noqa: PLC0415 (see above)
    from auditspan_service.database.schema import upgrade  # noqa: PLC0415

    name = new_template()
    engine = make_engine(url_of(name))
    upgrade(engine)
    engine.dispose()
    return name


def new_template() -> str:
    """The name of a new database to fill and then copy; it is there until the end."""
    name = f"auditspan_template_{secrets.token_hex(8)}"
    _administer(f'CREATE DATABASE "{name}" TEMPLATE template0')
    # The first connection makes a cache of the catalogs, which the copies then have as well.
    _connect(name).close()
    if _VARIABLE in os.environ:
        ENDING.callback(_drop, name)
    return name


@cache
def _strategy() -> str:
    """The strategy that copies files, where the server has a choice."""
    return " STRATEGY file_copy" if _administrator().info.server_version >= _HAS_STRATEGY else ""


def _administer(statement: str) -> None:
    """Run a statement that is not allowed in a transaction."""
    _administrator().execute(statement.encode())


@cache
def _administrator() -> psycopg.Connection:
    """A connection for all that is created and dropped: a new one takes longer than either."""
    connection = _connect(_server().database or "")
    ENDING.callback(connection.close)
    if _VARIABLE in os.environ:
        ENDING.callback(_drop_all)
    return connection


def _connect(database: str) -> psycopg.Connection:
    url = _server().set(drivername="postgresql", database=database)
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def url_of(database: str) -> str:
    """The URL of a database of this name."""
    return _server().set(database=database).render_as_string(hide_password=False)


@cache
def _server() -> URL:
    """The URL of the server, with a database that is there to connect to."""
    given = os.environ.get(_VARIABLE)
    url = make_url(given or _start())
    return url.set(drivername="postgresql+psycopg")


def _start() -> str:
    cluster = Cluster.make()
    ENDING.callback(cluster.destroy)
    return cluster.url.render_as_string(hide_password=False)
