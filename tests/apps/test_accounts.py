"""The application on Flask-SQLAlchemy and Flask-Migrate: its own tests, on both databases."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update

from apps.accounts import create_app, db, trail
from apps.accounts.models import User
from auditspan import Actor, AuditTrail, audit_context
from auditspan.testing import CapturedEvents, captured, rolled_back

pytest_plugins = ["auditspan.testing"]

KIM = {"username": "kim", "password": "planted-password"}


@pytest.fixture
def app(url: str) -> Iterator[Flask]:
    """The application, with tables and nothing in them."""
    made = create_app(SQLALCHEMY_DATABASE_URI=url, SECRET_KEY="tests")
    with made.app_context():
        db.create_all()
    yield made
    with made.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def audit_trail() -> AuditTrail:
    return trail


@pytest.fixture
def audit_bind(app: Flask) -> Engine:
    with app.app_context():
        return db.engine


def users(app: Flask) -> list[str]:
    """The names of all users."""
    with app.app_context():
        return list(db.session.scalars(select(User.username).order_by(User.id)))


def test_a_new_user_is_in_the_trail_with_the_request(
    client: FlaskClient, audit_events: CapturedEvents
) -> None:
    """One event, by nobody we know, and where it came from; the password is not in it."""
    answer = client.post("/users", data=KIM, headers={"X-Request-ID": "r-1", "User-Agent": "t/1"})
    assert 201 == answer.status_code
    event = audit_events.one("user.create")
    assert ("anonymous", "user/1") == (event.by, event.about)
    assert {
        "id": "r-1",
        "client_address": "127.0.0.1",
        "user_agent": "t/1",
        "method": "POST",
        "route": "/users",
    } == event["request"]
    assert "kim" == event.new["username"]
    assert {"$redacted": True} == event.new["password_hash"]


def test_a_logged_in_user_is_the_actor(client: FlaskClient, audit_events: CapturedEvents) -> None:
    """From the login on, events carry id and name of who acts, also of one who goes."""
    client.post("/users", data=KIM)
    client.post("/login", data=KIM)
    client.patch("/users/1", data={"email": "kim@example.org"})
    client.delete("/users/1")
    assert ["user.create", "user.login", "user.update", "user.delete"] == audit_events.actions
    assert ["anonymous", "anonymous", "user/1", "user/1"] == [event.by for event in audit_events]
    update = audit_events.one("user.update")
    assert "kim" == update["actor"]["label"]
    assert ({"email": None}, {"email": "kim@example.org"}) == (update.old, update.new)
    assert "/users/<int:user_id>" == update["request"]["route"]


def test_a_failed_login_is_in_the_trail(client: FlaskClient, audit_events: CapturedEvents) -> None:
    """The attempt is kept, whether there is such a user or not."""
    client.post("/users", data=KIM)
    assert 401 == client.post("/login", data=KIM | {"password": "guess"}).status_code
    assert 401 == client.post("/login", data={"username": "x", "password": "y"}).status_code
    assert [("user/1", "failure"), (None, "failure")] == [
        (event.about, event["outcome"]) for event in audit_events.of("user.login")
    ]


def test_a_failing_request_leaves_nothing(
    app: Flask,
    client: FlaskClient,
    audit_events: CapturedEvents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was flushed is rolled back with its event; handler and log say what they always said."""
    client.post("/users", data=KIM)
    with caplog.at_level(logging.INFO):
        answer = client.patch("/users/1", data={"email": "nonsense"})
        again = client.post("/users", data=KIM)
    assert (500, {"error": "internal server error"}) == (answer.status_code, answer.json)
    assert 500 == again.status_code
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert ["request failed: ValueError", "request failed: IntegrityError"] == errors
    assert ["user.create"] == audit_events.actions
    assert ["kim"] == users(app)


def test_work_outside_a_request_says_who_acts(app: Flask, audit_events: CapturedEvents) -> None:
    """A command of the same application is a system actor."""
    with app.app_context(), audit_context(actor=Actor.system("import")):
        db.session.add(User(username="lee", password_hash="x"))
        db.session.commit()
    assert "system/import" == audit_events.one("user.create").by


def test_statements_are_in_the_trail_too(app: Flask, audit_events: CapturedEvents) -> None:
    """On the engine as through the session, and by raw SQL."""
    with app.app_context(), audit_context(actor=Actor.system("import")):
        with db.engine.begin() as connection:
            connection.execute(insert(User).values(username="lee", password_hash="x"))
        db.session.execute(update(User).values(email="lee@example.org"))
        db.session.commit()
        db.session.execute(text("""UPDATE "user" SET email = 'lee@example.com'"""))
        db.session.commit()
        db.session.execute(delete(User))
        db.session.commit()
    assert ["user.create", "user.update", "user.update", "user.delete"] == audit_events.actions
    assert [{"email": "lee@example.org"}, {"email": "lee@example.com"}] == [
        event.new for event in audit_events.of("user.update")
    ]
    assert {"system/import"} == {event.by for event in audit_events}
    assert {"user/1"} == {event.about for event in audit_events}


@pytest.fixture
def connection(app: Flask) -> Iterator[Connection]:
    """Rollback-per-test for Flask-SQLAlchemy, which keeps its engines in a dictionary."""
    with app.app_context():
        engines = db.engines
    engine = engines[None]
    with rolled_back(engine, db.session) as connection:
        engines[None] = connection  # type: ignore[index]  # it is a dictionary
        yield connection
        engines[None] = engine  # type: ignore[index]  # it is a dictionary
    assert [] == users(app)
    with engine.connect() as other:
        assert 0 == other.scalar(select(func.count()).select_from(trail.tables.event))


def test_a_rolled_back_test_sees_its_events_and_leaves_none(
    app: Flask, connection: Connection
) -> None:
    """On the connection there is every event of the requests; on any other there is none."""
    client = app.test_client()
    with captured(trail, connection) as events:
        assert 201 == client.post("/users", data=KIM).status_code
        assert 500 == client.post("/users", data=KIM).status_code
        assert 201 == client.post("/users", data=KIM | {"username": "lee"}).status_code
    assert ["user.create", "user.create"] == events.actions
