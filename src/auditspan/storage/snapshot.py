"""A read-only connection whose statements all read one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a read-only connection whose statements all read one snapshot."""
    options: dict[str, Any] = {
        "postgresql_readonly": True
    }  # SQLite's engines know it, too: see `set_up_sqlite`
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"  # SQLite always reads a snapshot
    with engine.connect().execution_options(**options) as connection:
        yield connection
