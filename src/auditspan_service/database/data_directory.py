"""Repair of file modes in the data directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import URL, make_url

from auditspan.storage.files import DIRECTORY_MODE, FILE_MODE, close_to_others, make_private_file
from auditspan.storage.keys import last_signed_file
from auditspan_service.config import Settings
from auditspan_service.database.sqlite_url import sqlite_file

_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Suffixes of files that SQLite creates with the mode of the database at that time."""


def make_database_file(url: URL) -> None:
    """Create the file of a SQLite database unless it exists; SQLite would apply the umask."""
    if file := database_file(url):
        make_private_file(file)


def close_data_dir(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Remove other users' access to the data directory and an embedded database.

    Does nothing for a database server: the data directory may then contain keys for a group.

    Args:
        settings: the settings, which name the files.
        say: called with one sentence for each repair.
    """
    if not settings.is_embedded:
        return
    for path, mode in _paths(settings):
        if sentence := close_to_others(path, mode):
            say(sentence)


def _paths(settings: Settings) -> Iterator[tuple[Path, int]]:
    yield settings.data_dir, DIRECTORY_MODE
    yield settings.data_dir / "collector.log", FILE_MODE
    if settings.collector_files.is_relative_to(settings.data_dir):
        # The collector sets the mode of its files itself: their directories protect them.
        for name in ("", "audit", "telemetry"):
            yield settings.collector_files / name, DIRECTORY_MODE
    for key in (settings.mac_key_file, settings.erasure_key_file, settings.signing_key_file):
        if key.is_relative_to(settings.data_dir):
            yield key.parent, DIRECTORY_MODE
            yield from ((path, FILE_MODE) for path in (key, last_signed_file(key)))
    if database := database_file(make_url(settings.database_url)):
        for suffix in _SUFFIXES:
            yield database.with_name(database.name + suffix), FILE_MODE


def database_file(url: URL) -> Path | None:
    """Return the path of the database file, or None for a server or a database in memory."""
    if url.get_backend_name() != "sqlite" or url.query.get("mode") == "memory":
        return None
    return sqlite_file(url)
