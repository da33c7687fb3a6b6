"""A temporary SQLite file, for data that does not fit into memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from auditspan.errors import AuditConfigError

CACHE_KIB = 32 * 1024
"""The size of SQLite's page cache, beyond which it writes to the file."""


def open_temporary_file(schema: str, *, cache_kib: int = CACHE_KIB) -> sqlite3.Connection:
    """Open a private temporary database with this schema.

    On POSIX the file has no name, and it is removed when it is closed or the process ends. No file
    is written while everything fits into the cache.
    """
    file = sqlite3.connect("", isolation_level=None)  # "": private and temporary
    for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{cache_kib}"):
        file.execute(f"PRAGMA {pragma}")
    file.execute(schema)
    return file


@contextmanager
def explained() -> Iterator[None]:
    """Convert an error of the file to one that names the remedy.

    Raises:
        AuditConfigError: the file could not be used.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise AuditConfigError(
            f"the temporary file of this check cannot be used ({error}): set SQLITE_TMPDIR to a "
            "directory with more room, for ids or objects of the whole trail"
        ) from error
