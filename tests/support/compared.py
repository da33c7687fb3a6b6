"""Comparison of a schema's triggers with its models, once for all copies of a database."""

from __future__ import annotations

from sqlalchemy import Engine, MetaData

from auditspan.capture import triggers
from auditspan.storage import staging_of

_compared: set[tuple[str, MetaData]] = set()


def compare_once(engine: Engine, metadata: MetaData) -> None:
    """Compare the triggers of the audited tables, once for each kind of database.

    An engine compares those of all tables at its first write, which takes longer than most tests;
    each of them has a copy of the same database.
    """
    staging = staging_of(metadata)
    assert staging is not None
    if (engine.dialect.name, metadata) not in _compared:
        with engine.connect() as connection:
            assert triggers.has_triggers(connection, staging)
            assert not triggers.has_deferred(connection)
        _compared.add((engine.dialect.name, metadata))
        return
    triggers._checked[engine.dialect] = {(metadata, frozenset())}  # noqa: SLF001
