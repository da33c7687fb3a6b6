"""SQLite database URLs for any path, and the paths of such URLs.

A SQLAlchemy URL cannot contain a path with a question mark; SQLite's own `file:` URI can.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from sqlalchemy import URL, make_url

_DRIVER_OPTIONS = frozenset(
    {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout", "uri"}
)
_IN_MEMORY = frozenset({"", ":memory:", "file:", "file::memory:"})
_TRUE = frozenset({"true", "yes", "on", "y", "t", "1"})
"""The values that SQLAlchemy accepts as true."""


def sqlite_url(path: Path) -> str:
    """Return the database URL of a SQLite file."""
    return f"sqlite:///{_uri(path)}?uri=true" if "?" in str(path) else f"sqlite:///{path}"


def sqlite_file(url: URL) -> Path:
    """Return the path of the file that a SQLite URL names."""
    name = str(url.database)
    if not _is_uri(url):
        return Path(name)
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(name).path)))


def absolute_sqlite_url(text: str) -> URL:
    """Parse a SQLite URL and make its path absolute.

    Raises:
        ValueError: the URL names no file, or has an option that SQLAlchemy would ignore.
    """
    url = make_url(text)
    _require_file(url)
    _require_known_options(url, text)
    path = sqlite_file(url).expanduser().absolute()
    return url.set(database=_uri(path) if _is_uri(url) else str(path))


def _require_file(url: URL) -> None:
    if url.query.get("mode") == "memory" or str(url.database or "") in _IN_MEMORY:
        raise ValueError(
            "every thread would have its own database in memory: name a file, such as "
            "sqlite:////var/lib/auditspan/auditspan.db"
        )


def _require_known_options(url: URL, text: str) -> None:
    given = {name for name, _ in parse_qsl(text.partition("?")[2], keep_blank_values=True)}
    if not _is_uri(url) and (str(url.database).startswith("file:") or given - _DRIVER_OPTIONS):
        raise ValueError(
            "it contains an option that would be ignored: write a question mark in a path as %3F "
            "and end the URL with ?uri=true, as in sqlite:///file:/what%3F/auditspan.db?uri=true"
        )


def _is_uri(url: URL) -> bool:
    return str(url.query.get("uri", "")).lower() in _TRUE


def _uri(path: Path) -> str:
    return f"file:{quote(os.fsencode(path))}"
