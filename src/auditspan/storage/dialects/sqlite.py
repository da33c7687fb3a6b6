"""SQLite 3.31 or newer, which has one writer at a time and no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from sqlalchemy import Connection, select

from auditspan.storage.dialects.driver_connection import driver_connection

IMAGES_ARE_TAGGED = True
RETURNING = ""
SNAPSHOT: Mapping[str, str] = {}


def require_version(_version: tuple[int, ...]) -> None:
    """Accept the version that Python was built with."""


def bound_time(utc: datetime) -> datetime:
    """Return the time without a time zone, which the stored text lacks."""
    return utc.replace(tzinfo=None)


def text_decoder() -> Callable[[bytes | None], str | None]:
    """Return a decoder for a column that may hold any bytes."""
    return _decode


def _decode(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def lift_time_limits(_connection: Connection) -> None:
    """Do nothing: there are no time limits."""


def kept_alive(_connection: Connection) -> AbstractContextManager[None]:
    """Begin no transaction, which could block writers; no session ends as idle."""
    return nullcontext()


def read_snapshot(_connection: Connection) -> None:
    """Do nothing: every transaction reads one snapshot."""


def require_snapshot(connection: Connection) -> None:
    """Begin a transaction; Python's driver begins one only before a write."""
    connection.execute(select(1))  # lets the engine's own listeners begin one first
    if not getattr(driver_connection(connection), "in_transaction", True):
        connection.exec_driver_sql("BEGIN")
