"""A temporary file of SQLite, for what does not fit into memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from auditspan.errors import AuditConfigError

CACHE_KIB = 32 * 1024
"""What SQLite itself keeps in memory before it writes to the file at all."""


def open_temporary_file(schema: str, *, cache_kib: int = CACHE_KIB) -> sqlite3.Connection:
    """Open a private temporary database with this schema.

    It has no name on POSIX and is gone when it is closed or the process dies. There is no file as
    long as everything fits into the cache.
    """
    file = sqlite3.connect("", isolation_level=None)  # "": private and temporary
    for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{cache_kib}"):
        file.execute(f"PRAGMA {pragma}")
    file.execute(schema)
    return file


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error of the file into one that says what to do.

    Raises:
        AuditConfigError: there was one.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise AuditConfigError(
            f"the temporary file of the state check cannot be used ({error}): let SQLITE_TMPDIR "
            "name a directory with room for the objects of the trail"
        ) from error
