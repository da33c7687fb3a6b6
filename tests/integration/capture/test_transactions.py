"""What a transaction can do besides plain statements."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Numeric,
    Table,
    create_engine,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail, audit_context
from integration.capture.application import KIM, Application, make_application

WAITING = """
CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.n < 10 THEN INSERT INTO item (id, n) VALUES (NEW.id + 100, NEW.n + 10); END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER zz_echo AFTER INSERT ON item
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION echo();
"""


def make_items(engine: Engine) -> Application:
    """An application with items of a number, a price and a document."""
    metadata = MetaData()
    Table(
        "item",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer),
        Column("price", Numeric),
        Column("document", JSON),
        Column("at", DateTime),
        info={"audit": True},
    )
    return make_application(engine, metadata)


@pytest.fixture
def application(engine: Engine) -> Application:
    """Items, on each of the databases."""
    return make_items(engine)


@pytest.fixture
def postgresql(postgresql_engine: Engine) -> Application:
    """Items on PostgreSQL, for what only that can do."""
    return make_items(postgresql_engine)


def test_writes_of_a_deferred_trigger_are_recorded(postgresql: Application) -> None:
    """By the actor of the transaction, and in its commit."""
    engine = postgresql.engine
    with engine.begin() as connection:
        connection.exec_driver_sql(WAITING)
    with postgresql.unit_of_work() as session:
        session.execute(text("INSERT INTO item (id, n) VALUES (1, 1)"))
    told = [(e["action"], e["target"]["id"], e["actor"]["type"]) for e in postgresql.events()]
    assert [("item.create", "1", "user"), ("item.create", "101", "user")] == told
    postgresql.check()


def test_a_deferred_constraint_fails_the_commit_with_its_own_error(
    postgresql: Application,
) -> None:
    """As without a trail, and nothing is recorded."""
    engine = postgresql.engine
    with engine.begin() as connection:
        connection.exec_driver_sql(WAITING)
        connection.exec_driver_sql(
            "ALTER TABLE item ADD CONSTRAINT one UNIQUE (n) DEFERRABLE INITIALLY DEFERRED"
        )
    with audit_context(actor=KIM), postgresql.sessions() as session:
        session.execute(text("INSERT INTO item (id, n) VALUES (1, 50), (2, 50)"))
        with pytest.raises(IntegrityError):
            session.commit()
    assert [] == postgresql.events()
    postgresql.check()


def test_an_equal_number_of_another_form_is_a_change(postgresql: Application) -> None:
    """1.0 is not 1.00 in a NUMERIC of PostgreSQL."""
    with postgresql.unit_of_work() as session:
        session.execute(text("INSERT INTO item (id, price) VALUES (1, 1.0)"))
    with postgresql.unit_of_work() as session:
        session.execute(text("UPDATE item SET price = 1.00"))
    assert ["1.0", "1.00"] == postgresql.news("price")
    postgresql.check()


def test_equal_time_in_another_form_leaves_no_row(application: Application) -> None:
    """SQLite stores a time as the text that it was given."""
    upsert = "INSERT INTO item (id, at) VALUES (1, :at) ON CONFLICT (id) DO UPDATE SET at = :at"
    for time in ("2026-02-01 12:00:00", "2026-02-01 12:00:00.000000"):
        with application.unit_of_work() as session:
            session.execute(text(upsert), {"at": time})
    assert ["2026-02-01T12:00:00.000000"] == application.news("at")
    application.check()


def test_a_document_that_only_json_can_hold_is_recorded(postgresql: Application) -> None:
    """An escaped NUL, which no text of PostgreSQL may have: the application's write succeeds."""
    with postgresql.unit_of_work() as session:
        session.execute(text("""INSERT INTO item (id, document) VALUES (1, '{"a": "\\u0000"}')"""))
    with postgresql.engine.connect() as connection:
        held = connection.scalar(text("SELECT CAST(document AS text) FROM item"))
    assert '{"a": "\\u0000"}' == held
    assert [("item.create", "1")] == [told[:2] for told in postgresql.told()]


def test_a_swallowed_error_and_then_a_commit_record_nothing(application: Application) -> None:
    """PostgreSQL rolls back such a transaction; SQLite keeps what came before the error."""
    with audit_context(actor=KIM), application.engine.connect() as connection:
        connection.execute(text("INSERT INTO item (id) VALUES (1)"))
        with suppress(DBAPIError):
            connection.execute(text("INSERT INTO item (id) VALUES (1)"))
        with suppress(DBAPIError):
            connection.commit()
    with application.engine.connect() as connection:
        kept = [str(id_) for id_ in connection.scalars(text("SELECT id FROM item"))]
    assert kept == [id_ for _, id_, _ in application.told()]
    application.check()


@pytest.mark.parametrize("when", ["before", "during"])
def test_writes_of_a_detached_connection_are_recorded(application: Application, when: str) -> None:
    """It has left its pool, before its transaction or in the middle of it."""
    plain = create_engine(application.engine.url)  # on SQLite, set up by the trail
    application.trail.register_engine(plain)
    write = text("INSERT INTO item (id) VALUES (:id)")
    with audit_context(actor=KIM), plain.connect() as connection:
        if when == "during":
            connection.execute(write, {"id": 1})
        connection.detach()
        connection.execute(write, {"id": 2})
        connection.commit()
    plain.dispose()
    ids = ["1", "2"] if when == "during" else ["2"]
    assert [("item.create", id_) for id_ in ids] == [one[:2] for one in application.told()]
    application.check()


def test_a_candidate_of_replace_is_not_kept_after_the_commit(application: Application) -> None:
    """A row that might have been displaced, and was not, leaves no image behind."""
    ignored = {
        "sqlite": "INSERT OR IGNORE INTO item (id, n) VALUES (1, 2)",
        "postgresql": "INSERT INTO item (id, n) VALUES (1, 2) ON CONFLICT DO NOTHING",
    }[application.engine.dialect.name]
    for statement in ("INSERT INTO item (id, n) VALUES (1, 1)", ignored):
        with application.unit_of_work() as session:
            session.execute(text(statement))
    with application.engine.connect() as connection:
        assert 0 == connection.scalar(text("SELECT count(*) FROM audit_change"))
    application.check()


def test_drain_within_a_statement_hides_nothing(postgresql: Application) -> None:
    """A drain by injected SQL leaves the change for the commit."""
    with postgresql.unit_of_work() as session:
        session.execute(text("INSERT INTO item (id) VALUES (1)"))
        session.execute(text("SELECT FROM auditspan_drain(NULL)"))
    assert ["item.create"] == [told[0] for told in postgresql.told()]
    postgresql.check()


@pytest.mark.parametrize("is_prepared", [False, True], ids=["at once", "prepared"])
def test_two_phase_commits_are_recorded(postgresql: Application, *, is_prepared: bool) -> None:
    """With and without `prepare`."""
    engine = postgresql.engine
    with audit_context(actor=KIM), engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(text("INSERT INTO item (id) VALUES (1)"))
        if is_prepared:
            transaction.prepare()
        transaction.commit()
    assert [("item.create", "1")] == [told[:2] for told in postgresql.told()]
    postgresql.check()


def test_tenants_by_search_path_have_a_trail_each(postgresql_engine: Engine) -> None:
    """The same models in two schemas, each with audit tables of its own."""
    engine = postgresql_engine
    metadata = MetaData()
    Table("item", metadata, Column("id", Integer, primary_key=True), info={"audit": True})
    sessions = sessionmaker()
    trail = AuditTrail(sessions, metadata=metadata)
    tenants = []
    for name in ("ada", "bob"):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        own = create_engine(engine.url, connect_args={"options": f"-csearch_path={name}"})
        metadata.create_all(own)
        tenants.append(Application(engine=own, metadata=metadata, sessions=sessions, trail=trail))
    for number, tenant in enumerate(tenants, 1):
        with audit_context(actor=KIM), sessions(bind=tenant.engine) as session, session.begin():
            session.execute(text("INSERT INTO item (id) VALUES (:id)"), {"id": number})
    assert [[("item.create", "1")], [("item.create", "2")]] == [
        [told[:2] for told in tenant.told()] for tenant in tenants
    ]
    for tenant in tenants:
        tenant.check()
        tenant.engine.dispose()


def test_numbers_beyond_python_are_recorded(postgresql: Application) -> None:
    """NaN and infinity of a NUMERIC."""
    with postgresql.unit_of_work() as session:
        session.execute(text("INSERT INTO item (id, price) VALUES (1, 'NaN'), (2, 'Infinity')"))
        session.execute(
            text("UPDATE item SET price = :price WHERE id = 2"), {"price": Decimal("1e-30")}
        )
    assert 3 == len(postgresql.events())
    postgresql.check()
