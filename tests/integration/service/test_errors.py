"""What goes wrong on our side: said to the client in a problem document, to us in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from opentelemetry.trace import StatusCode
from sqlalchemy import text

from auditspan.capture.unaudited import unaudited
from auditspan_service.api.current import services
from auditspan_service.models import User
from support.postgres import empty_database, migrated_database
from support.service import RunningService, problem, running_service, settings_at
from support.stranger import as_stranger

SECRET = "hunter2"  # in an exception's words


@pytest.fixture
def failing(service: RunningService) -> RunningService:
    """The service with requests that fail in ways that nobody expects."""

    @service.app.post("/test/after-flush")
    def after_flush() -> NoReturn:
        with services().database.writing() as session:
            session.add(User(username="ghost"))
            session.flush()
            raise RuntimeError(SECRET)

    @service.app.post("/test/integrity")
    def integrity() -> str:
        with services().database.writing() as session, unaudited(reason="to fail"):
            session.execute(text("INSERT INTO api_keys (id) VALUES (NULL)"))
        return ""

    @service.app.post("/test/stale")
    def stale() -> str:
        with services().database.writing() as session:
            session.add(user := User(username="ghost"))
            session.flush()
            with unaudited(reason="to fail"):
                session.execute(text("DELETE FROM users"))
            user.full_name = "Ghost"
        return ""

    return service


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The ERROR log records; exporters of earlier tests may still complain."""
    return [
        record
        for record in caplog.records
        if record.levelno >= logging.ERROR and not record.name.startswith("opentelemetry")
    ]


@pytest.mark.parametrize("path", ["/test/after-flush", "/test/integrity"])
def test_unexpected_exception(
    failing: RunningService, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """A 500 shows no internals and changes nothing; the stack trace is logged, once, as ERROR."""
    before = failing.tables()
    response = failing.app.test_client().post(path)

    document = problem(response)
    assert (document["status"], document["type"]) == (500, "about:blank")
    assert document["detail"] == "An internal error occurred. It was logged with this trace id."
    assert SECRET not in response.text
    (record,) = errors(caplog)
    assert record.exc_info
    assert failing.tables() == before

    (span,) = [span for span in failing.spans() if span.name == f"POST {path}"]
    assert span.status.status_code == StatusCode.ERROR
    assert [event.name for event in span.events if event.name.startswith("audit.")] == []


def test_stale_data_is_a_412(failing: RunningService) -> None:
    """A version conflict that only the flush sees is a 412, and the transaction is rolled back."""
    failing.issue("admin")
    before = failing.tables()
    # The keys go first: a database that checks them would refuse the statement in the request.
    as_stranger(failing.services.database.engine, "DELETE FROM api_keys")
    document = problem(failing.app.test_client().post("/test/stale"))
    assert (document["status"], document["type"]) == (412, "/problems/stale")
    assert failing.tables()["users"] == before["users"]
    assert failing.tables()["audit_event"] == before["audit_event"]


def test_audit_row_cannot_be_written(
    service: RunningService, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its audit row a change is refused with 503, and is not there."""
    kim = service.caller()
    users = service.tables()["users"]
    with service.services.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_event RENAME TO audit_gone"))

    response = kim("POST", "/v1/users", json={"username": "lee"})
    document = problem(response)
    assert (document["status"], document["type"]) == (503, "/problems/unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert [record.levelname for record in errors(caplog)] == ["ERROR"]

    with service.services.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_gone RENAME TO audit_event"))
    assert service.tables()["users"] == users
    assert kim("POST", "/v1/users", json={"username": "lee"}).status_code == 201


def test_database_that_is_not_there(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that refuses connections is a 503 with Retry-After, also for authentication."""
    settings = settings_at(
        tmp_path_factory.mktemp("data"), "postgresql://kim:hunter2@127.0.0.1:1/auditspan"
    )
    with running_service(settings) as service:
        headers = {"Authorization": f"Bearer ask_1_{'x' * 43}"}
        response = service.app.test_client().get("/v1/users", headers=headers)
        ready = service.app.test_client().get("/readyz")
        alive = service.app.test_client().get("/healthz")
    assert problem(response)["status"] == 503
    assert response.headers["Retry-After"] == "2"
    assert (problem(ready)["detail"], ready.status_code) == ("The database does not answer.", 503)
    assert alive.status_code == 200
    assert SECRET not in response.text + ready.text + caplog.text


def test_cut_connections_are_replaced(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Connections that the server has cut are replaced; nobody sees an error."""
    with migrated_database() as url:
        settings = settings_at(tmp_path_factory.mktemp("data"), url)
        with running_service(settings) as service:
            kim = service.caller()
            assert kim("GET", "/v1/users").status_code == 200
            cut = text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            with service.services.database.engine.begin() as connection:
                connection.execute(cut)
            assert kim("POST", "/v1/users", json={"username": "lee"}).status_code == 201


@contextmanager
def locked(service: RunningService) -> Iterator[None]:
    """Somebody else holds the whole table."""
    with service.services.database.engine.begin() as connection:
        connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        yield


def test_waiting_for_a_lock_ends(
    postgresql_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that waits too long for a lock gets a 503 and not a place in an endless queue."""
    service = postgresql_service
    kim = service.caller()
    monkeypatch.setattr("auditspan_service.database.engine._SETTINGS", ("lock_timeout = '200ms'",))
    service.services.database.dispose()
    with locked(service):
        assert problem(kim("GET", "/v1/users"))["status"] == 503
    assert kim("GET", "/v1/users").status_code == 200


def test_schema_that_is_missing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Before `db upgrade` requests get 503, /readyz says what to do, and /healthz is fine."""
    with empty_database() as url:
        settings = settings_at(tmp_path_factory.mktemp("data"), url)
        with running_service(settings) as service:
            client = service.app.test_client()
            headers = {"Authorization": f"Bearer ask_1_{'x' * 43}"}
            assert problem(client.get("/v1/users", headers=headers))["status"] == 503
            assert "auditspan db upgrade" in problem(client.get("/readyz"))["detail"]
            assert client.get("/healthz").status_code == 200


def test_probes_leave_nothing(service: RunningService) -> None:
    """Probes need no key, write nothing and make no spans."""
    before = service.tables()
    service.forget_spans()
    client = service.app.test_client()
    assert client.get("/healthz").get_json() == {"status": "ok"}
    assert client.get("/readyz").get_json()["status"] == "ready"
    assert [span.name for span in service.spans()] == []
    assert service.tables() == before


def test_problem_pages(service: RunningService) -> None:
    """The type of a problem is the path of a page that explains it."""
    client = service.app.test_client()
    type_ = problem(client.get("/v1/users"))["type"]
    page = client.get(type_)
    assert (page.status_code, page.get_json()["type"], page.get_json()["status"]) == (
        200,
        type_,
        401,
    )


def test_requests_show_every_statement_of_the_application(service: RunningService) -> None:
    """One that reads shows its SELECT, one that writes its INSERT; the audit's have no spans."""
    kim = service.caller()
    service.forget_spans()
    kim("GET", "/v1/users")
    reading = names_in_order(service)
    service.forget_spans()
    kim("POST", "/v1/users", json={"username": "lee"})

    assert ["GET", "SELECT", "SELECT"] == reading
    assert WRITING[service.services.database.engine.dialect.name] == names_in_order(service)


WRITING = {
    "postgresql": ["POST", "SELECT", "INSERT", "COMMIT"],
    "sqlite": ["POST", "SELECT", "BEGIN", "INSERT", "COMMIT"],
}
"""What a request that creates a user shows: the query of its key, the INSERT of the user."""


def names_in_order(service: RunningService) -> list[str]:
    """The first word of every span's name, in the order of their start."""
    spans = sorted(service.spans(), key=lambda span: span.start_time or 0)
    return [span.name.partition(" ")[0] for span in spans]
