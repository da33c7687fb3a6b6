"""Engines. SQLite gets real transactions, as SQLAlchemy's documentation advises."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def open_engine(url: str) -> Engine:
    """The engine of a `sqlite:` or `postgresql+psycopg:` URL."""
    engine = create_engine(url)
    return _prepared(engine)


def open_async_engine(url: str) -> AsyncEngine:
    """The same database for asyncio."""
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:", 1))
    _prepared(engine.sync_engine)
    return engine


def _prepared(engine: Engine) -> Engine:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
