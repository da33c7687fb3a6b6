"""What only reads pays nothing for the capture, and is never refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    text,
)

from auditspan.capture.writes import may_write
from integration.capture.application import Application, make_application

READING = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT max(i) FROM n
"""


@pytest.fixture
def application(engine: Engine) -> Application:
    """A table of words under a trail."""
    metadata = MetaData()
    Table("word", metadata, Column("id", Integer, primary_key=True), info={"audit": True})
    return make_application(engine, metadata)


def test_a_query_in_a_common_table_expression_only_reads() -> None:
    """Unless it changes rows in it, or calls a function that is not known."""
    assert not may_write(READING)
    assert may_write("WITH gone AS (DELETE FROM word RETURNING id) SELECT id FROM gone")
    assert may_write("WITH n AS (SELECT 1) INSERT INTO word SELECT * FROM n")
    assert may_write("WITH n AS (SELECT pay(1)) SELECT * FROM n")


@pytest.mark.parametrize("statement", [READING, "SELECT coalesce(nosuch(1), 2)"])
def test_a_connection_that_cannot_write_may_read(application: Application, statement: str) -> None:
    """A function that might write is asked all the same."""
    engine = create_engine(application.engine.url)
    is_sqlite = engine.dialect.name == "sqlite"
    if is_sqlite:
        event.listen(engine, "connect", lambda driver, _: driver.create_function("nosuch", 1, abs))
    else:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE FUNCTION nosuch(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1'"
            )
    options = {} if is_sqlite else {"postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection:
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA query_only = 1")
        connection.execute(text(statement))
        connection.commit()
    engine.dispose()
    assert [] == application.events()


def test_reading_waits_for_no_writer_on_sqlite(tmp_path: Path) -> None:
    """No function of SQLite writes, so that a query that calls one takes no lock."""
    metadata = MetaData()
    word = Table("word", metadata, Column("id", Integer, primary_key=True), info={"audit": True})
    engine = create_engine(f"sqlite:///{tmp_path}/words.db")
    application = make_application(engine, metadata)
    with application.unit_of_work() as writer, application.sessions() as reader:
        writer.execute(insert(word).values(id=1))
        reader.execute(text("SELECT quote(hex(id)) FROM word"))
        assert [] == [*application.trail.events(reader)]
    assert ["word.create"] == [action for action, *_ in application.told()]
    engine.dispose()
