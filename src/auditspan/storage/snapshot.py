"""A read-only connection whose statements all read one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

from auditspan.storage.dialects import DIALECTS


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a read-only connection whose statements all read one snapshot."""
    # `set_up_sqlite` reads the first option, too.
    options: dict[str, Any] = {"postgresql_readonly": True, **DIALECTS.of(engine).SNAPSHOT}
    with engine.connect().execution_options(**options) as connection:
        yield connection
