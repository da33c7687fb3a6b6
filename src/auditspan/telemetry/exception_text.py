"""Exception messages that may leave the process.

A database driver quotes values in its messages: PostgreSQL's `DETAIL: Key (email)=(kim@…) already
exists.` or `invalid input syntax for type uuid: "…"`. `hide_parameters=True` on the engine does not
affect them. Here the driver's message is reduced to the parts that contain only names: the
SQLSTATE, the constraint, and the primary message if it quotes nothing.
"""

from __future__ import annotations

import sqlite3
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA_EXCEPTION = "22"
"""The SQLSTATE class whose primary messages quote the invalid value."""


@dataclass(frozen=True, kw_only=True)
class ExceptionText:
    """Attributes of an exception in a log record, as in the semantic conventions."""

    type: str
    message: str
    stacktrace: str


def describe(error: BaseException) -> ExceptionText:
    """Describe `error` and its causes without the values that drivers quote. Never raises."""
    message = _words(error)
    stacktrace = "".join(traceback.format_exception(error))
    for driver_error in _driver_errors(error):
        said = _words(driver_error)
        if said:
            safe = without_values(driver_error)
            message = message.replace(said, safe)
            stacktrace = stacktrace.replace(said, safe)
    return ExceptionText(type=type_name(error), message=message, stacktrace=stacktrace)


def type_name(error: BaseException) -> str:
    """Return the full name of the exception's class, without `builtins`."""
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def database_status(error: BaseException) -> str | None:
    """Return the database's own code for `error`: an SQLSTATE, or SQLite's error name."""
    code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    return str(code) if code else None


def without_values(error: BaseException) -> str:
    """Return the parts of a driver exception's message that contain only names."""
    if isinstance(error, sqlite3.Error):
        return _words(error)  # "UNIQUE constraint failed: users.email": names, never values
    status = database_status(error)
    if status is None and type(error).__name__ == "OperationalError":
        return _words(error)  # the connection failed: no statement, no values
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    if primary is None or (status or "").startswith(_DATA_EXCEPTION):
        primary = "message hidden, because it may quote values"
    return f"{primary} (SQLSTATE {status})" if status else str(primary)


def _driver_errors(error: BaseException) -> Iterator[BaseException]:
    for link in _chain(error):
        if isinstance(link, DBAPIError):
            if link.orig is not None:
                yield link.orig
        elif hasattr(link, "diag") and hasattr(link, "sqlstate"):
            yield link


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting:
        link = waiting.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [near for near in (link.__cause__, link.__context__) if near is not None]


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a foreign __str__ must not make logging fail
        return "<str() failed>"
