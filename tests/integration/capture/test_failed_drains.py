"""A transaction whose changes cannot be recorded is not committed, whoever swallows the error."""

from __future__ import annotations

from contextlib import suppress

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, insert, text
from sqlalchemy.exc import SQLAlchemyError

from auditspan import Actor, AuditError, audit_context
from auditspan.errors import AuditWriteError, MissingActorError, UnauditedWriteError
from integration.capture.application import Application, make_application

REFUSING = {
    "sqlite": (
        "CREATE TRIGGER no_rows BEFORE INSERT ON audit_event BEGIN SELECT RAISE(ABORT, ''); END"
    ),
    "postgresql": "ALTER TABLE audit_event ADD CONSTRAINT no_rows CHECK (false) NOT VALID",
}
RENAMED = "ALTER TABLE audit_event RENAME TO gone"
REPLACED = "ALTER TABLE gone RENAME TO audit_event"


@pytest.fixture
def application(engine: Engine) -> Application:
    """A table of words under a trail."""
    metadata = MetaData()
    Table("word", metadata, Column("id", Integer, primary_key=True), info={"audit": True})
    return make_application(engine, metadata)


def word(application: Application) -> Table:
    """The audited table."""
    return application.metadata.tables["word"]


def ids(application: Application) -> list[int]:
    """The keys in the table."""
    with application.engine.connect() as connection:
        return list(connection.scalars(text("SELECT id FROM word ORDER BY id")))


def test_a_commit_whose_records_are_refused_is_refused(application: Application) -> None:
    """With the error of the trail, and the connection goes on with nothing of it."""
    with application.engine.begin() as connection:
        connection.exec_driver_sql(REFUSING[application.engine.dialect.name])
    with audit_context(actor=Actor.user(1)), application.engine.connect() as connection:
        connection.execute(insert(word(application)).values(id=1))
        with pytest.raises(AuditWriteError):
            connection.commit()
        with suppress(SQLAlchemyError, AuditError):
            connection.commit()
        connection.rollback()
    assert ([], []) == (ids(application), application.events())


def test_a_session_whose_commit_is_refused_works_again_after_its_rollback(
    application: Application,
) -> None:
    """The refusal belongs to the transaction, and not to the connection."""
    with audit_context(actor=Actor.user(1)), application.sessions() as session:
        session.execute(insert(word(application)).values(id=1))
        session.execute(text(RENAMED))
        with pytest.raises(AuditWriteError):
            session.commit()
        session.rollback()
        session.execute(insert(word(application)).values(id=2))
        session.commit()
    assert [2] == ids(application)
    application.check()


def test_an_error_inside_a_savepoint_takes_only_that_with_it(application: Application) -> None:
    """A savepoint that is rolled back takes its staged changes away."""
    with application.unit_of_work() as session:
        session.execute(insert(word(application)).values(id=1))
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            session.execute(insert(word(application)).values(id=2))
            raise ZeroDivisionError
        session.execute(insert(word(application)).values(id=3))
    assert ["1", "3"] == [event["target"]["id"] for event in application.events()]
    application.check()


def test_text_without_an_actor_is_refused_before_the_commit(application: Application) -> None:
    """Where only the database sees which rows are written, and nobody said who acts."""
    with application.engine.connect() as connection:
        connection.execute(text("INSERT INTO word VALUES (1)"))
        with pytest.raises(MissingActorError):
            connection.commit()
    assert ([], []) == (ids(application), application.events())


def test_a_statement_without_an_actor_is_refused_at_once(application: Application) -> None:
    """Where SQLAlchemy knows the table."""
    with application.engine.connect() as connection, pytest.raises(MissingActorError):
        connection.execute(insert(word(application)).values(id=1))
    assert ([], []) == (ids(application), application.events())


def test_tables_that_do_not_exist_yet_refuse_a_write(application: Application) -> None:
    """An audited table is not written before the tables of the trail are there."""
    with application.engine.begin() as connection:
        application.metadata.drop_all(connection)
        word(application).create(connection)
    with (
        audit_context(actor=Actor.user(1)),
        application.engine.connect() as connection,
        pytest.raises(AuditError),
    ):
        connection.execute(insert(word(application)).values(id=1))
    assert [] == ids(application)


def test_missing_triggers_are_made_again_or_refuse_the_write(application: Application) -> None:
    """On SQLite they are made again before the next write; on PostgreSQL it is refused."""
    drop = {
        "sqlite": "DROP TRIGGER auditspan_word_insert",
        "postgresql": 'DROP TRIGGER "00_auditspan_insert" ON word',
    }
    with application.engine.begin() as connection:
        connection.exec_driver_sql(drop[application.engine.dialect.name])
    with (
        suppress(AuditError),
        audit_context(actor=Actor.user(1)),
        application.engine.begin() as connection,
    ):
        connection.execute(insert(word(application)).values(id=1))
    assert ids(application) == [int(event["target"]["id"]) for event in application.events()]
    assert (application.engine.dialect.name == "sqlite") == (ids(application) == [1])


def test_an_audited_table_of_another_metadata_is_refused(application: Application) -> None:
    """No trail makes triggers for it, so nothing would be staged."""
    other = Table(
        "elsewhere", MetaData(), Column("id", Integer, primary_key=True), info={"audit": True}
    )
    other.create(application.engine)
    with (
        audit_context(actor=Actor.user(1)),
        application.engine.connect() as connection,
        pytest.raises(UnauditedWriteError, match="elsewhere"),
    ):
        connection.execute(insert(other).values(id=1))
    application.check()


def test_missing_privilege_is_named(postgresql_engine: Engine) -> None:
    """A transaction that changes its role commits as a role that may not record."""
    metadata = MetaData()
    Table("word", metadata, Column("id", Integer, primary_key=True), info={"audit": True})
    application = make_application(postgresql_engine, metadata)
    role = f"role_of_{postgresql_engine.url.database}"
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
        connection.exec_driver_sql(f"GRANT ALL ON word TO {role}")
    message = r"permission denied for function auditspan_drain\. Grant the role"
    with pytest.raises(AuditWriteError, match=message), application.unit_of_work() as session:
        session.execute(text(f"SET LOCAL ROLE {role}"))
        session.execute(insert(word(application)).values(id=1))
    assert ([], []) == (ids(application), application.events())
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
