"""What staging costs beside large values and under old snapshots."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, Text, insert, text

from auditspan import audit_context
from integration.capture.application import KIM, Application, make_application

COMMITS = 300
LARGE = "SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32768) i"
"""A text of 1 MB that does not compress away."""


@pytest.fixture
def application(postgresql_engine: Engine) -> Application:
    """Documents of a title and a text."""
    metadata = MetaData()
    Table(
        "document",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("title", Text),
        Column("content", Text),
        info={"audit": True},
    )
    return make_application(postgresql_engine, metadata)


def scalar(connection: Connection, query: str) -> int:
    """A number that the database gives."""
    return int(connection.scalar(text(query)) or 0)


def test_unchanged_large_text_is_neither_staged_nor_logged(application: Application) -> None:
    """An update beside a text of 1 MB stages under 1 kB and writes under 100 kB of WAL."""
    with application.unit_of_work() as session:
        session.execute(text(f"INSERT INTO document SELECT 1, 'a', ({LARGE})"))
    position = "SELECT pg_current_wal_insert_lsn() - '0/0'"
    staged, logged = [], []
    for number in range(5):  # the first after a checkpoint logs whole pages
        with audit_context(actor=KIM), application.engine.connect() as connection:
            before = scalar(connection, position)
            connection.execute(text("UPDATE document SET title = :t"), {"t": str(number)})
            size = "SELECT pg_column_size(staged.*) FROM audit_change staged"
            staged.append(scalar(connection, size))
            connection.commit()
            logged.append(scalar(connection, position) - before)
    assert (True, True) == (0 < max(staged) < 1000, 0 < min(logged) < 100_000)
    application.check()


def test_old_snapshot_delays_only_the_vacuum(application: Application) -> None:
    """Commits continue while a snapshot is held; VACUUM empties the staging table afterwards."""
    document = application.metadata.tables["document"]
    repeatable = application.engine.execution_options(isolation_level="REPEATABLE READ")
    with repeatable.connect() as reader:
        scalar(reader, "SELECT count(*) FROM document")
        for number in range(COMMITS):
            with application.unit_of_work() as session:
                session.execute(insert(document).values(id=number))
        assert 0 == scalar(reader, "SELECT count(*) FROM document")
    autocommit = application.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        connection.exec_driver_sql("VACUUM audit_change")
        size = scalar(connection, "SELECT pg_relation_size('audit_change')")
    assert (COMMITS, 0) == (len(application.events()), size)
    application.check()
