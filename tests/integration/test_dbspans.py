"""COMMIT, ROLLBACK and failing statements as spans, on SQLite and on PostgreSQL."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy.orm import Session, sessionmaker

from auditspan import AuditTrail
from auditspan.telemetry import describe
from auditspan_service.telemetry.exporters import Exporters
from auditspan_service.telemetry.instrumentation import instrument_engine
from auditspan_service.telemetry.providers import Telemetry, TelemetryConfig, setup_telemetry
from support.postgres import empty_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

SECRET = "kim-s3cret@example.org"
NOBODY = 471147114  # too long to be in the ids and times of a span by chance

metadata = sa.MetaData()
people = sa.Table(
    "people",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.String, unique=True),
)
pets = sa.Table(
    "pets",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column(
        "owner",
        sa.ForeignKey("people.id", deferrable=True, initially="DEFERRED", name="pets_owner_fkey"),
    ),
)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL of a database on a real PostgreSQL, for this module."""
    with empty_database() as url:
        yield url


@dataclass(frozen=True, kw_only=True)
class Database:
    """An instrumented engine, and what was exported about it."""

    engine: sa.Engine
    telemetry: Telemetry
    exporter: InMemorySpanExporter

    @contextmanager
    def request(self) -> Iterator[None]:
        """A span for what happens inside, as a request would have."""
        tracer = self.telemetry.tracer_provider.get_tracer("test")
        with tracer.start_as_current_span("request"):
            yield

    def spans(self) -> list[ReadableSpan]:
        """Every span of the database so far, in the order of their start, and forget them."""
        assert self.telemetry.force_flush()
        spans = [span for span in self.exporter.get_finished_spans() if span.name != "request"]
        self.exporter.clear()
        return sorted(spans, key=lambda span: span.start_time or 0)

    def operations(self) -> list[Any]:
        """The operations of `spans`."""
        return [(span.attributes or {})["db.operation.name"] for span in self.spans()]


def database_at(url: str) -> Iterator[Database]:
    """An instrumented engine on empty tables."""
    exporter = InMemorySpanExporter()
    telemetry = setup_telemetry(TelemetryConfig(install_global=False), Exporters(spans=exporter))
    engine = sa.create_engine(url, hide_parameters=True)
    metadata.drop_all(engine)
    metadata.create_all(engine)
    instrument_engine(engine, telemetry)
    yield Database(engine=engine, telemetry=telemetry, exporter=exporter)
    engine.dispose()
    telemetry.shutdown()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Database]:
    """The same on both databases."""
    if request.param == "sqlite":
        yield from database_at(f"sqlite:///{tmp_path}/app.db")
    else:
        yield from database_at(request.getfixturevalue("postgresql"))


@pytest.fixture
def postgresql_database(postgresql: str) -> Iterator[Database]:
    """PostgreSQL only: for what SQLite does not do."""
    yield from database_at(postgresql)


def test_commit_is_a_client_span_of_the_request(database: Database) -> None:
    """A COMMIT is a CLIENT span below the current span, with the stable attributes."""
    tracer = database.telemetry.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request, database.engine.begin() as connection:
        connection.execute(people.insert(), {"email": "kim"})

    insert, commit = database.spans()
    assert (
        commit.name,
        commit.kind,
        commit.status.status_code,
    ) == ("COMMIT", SpanKind.CLIENT, StatusCode.UNSET)
    assert [request.get_span_context()] * 2 == [insert.parent, commit.parent]
    attributes = commit.attributes or {}
    assert {
        "db.system.name": database.engine.dialect.name,
        "db.namespace": database.engine.url.database,
        "db.operation.name": "COMMIT",
    } == {name: value for name, value in attributes.items() if name.startswith("db.")}


def test_every_end_of_a_transaction_once(database: Database) -> None:
    """Each COMMIT and ROLLBACK is there once; what the pool does on return is not."""
    with database.request():
        with database.engine.begin() as connection:
            connection.execute(people.insert(), {"email": "kim"})
        with suppress(LookupError), database.engine.begin() as connection:
            connection.execute(people.insert(), {"email": "lee"})
            raise LookupError
        with database.engine.connect() as connection:
            connection.execute(people.insert(), {"email": "max"})
            connection.commit()

    assert database.operations() == ["INSERT", "COMMIT", "INSERT", "ROLLBACK", "INSERT", "COMMIT"]


def test_savepoints_are_visible(database: Database) -> None:
    """Savepoints are statements; the outer transaction has the only COMMIT."""
    with database.request(), Session(database.engine) as session:
        with session.begin_nested():
            session.execute(people.insert(), {"email": "kim"})
        with suppress(LookupError), session.begin_nested():
            session.execute(people.insert(), {"email": "lee"})
            raise LookupError
        session.commit()

    texts = [(span.attributes or {}).get("db.query.text", span.name) for span in database.spans()]
    texts = [text for text in texts if text != "BEGIN"]  # which SQLite's driver would leave out
    assert ["INSERT" if "INSERT" in str(text) else text for text in texts] == [
        "SAVEPOINT sa_savepoint_1",
        "INSERT",
        "RELEASE SAVEPOINT sa_savepoint_1",
        "SAVEPOINT sa_savepoint_2",
        "INSERT",
        "ROLLBACK TO SAVEPOINT sa_savepoint_2",
        "COMMIT",
    ]


def test_no_transaction_span_outside_a_request(database: Database) -> None:
    """Without a recording span around it a COMMIT is no trace of its own."""
    with database.engine.begin() as connection:
        connection.execute(people.insert(), {"email": "kim"})

    assert database.operations() == ["INSERT"]


def test_trail_without_an_engine_asks_nothing_of_others(database: Database) -> None:
    """A trail that knows no engine yet adds no statement to a write to a table that is not its."""
    trail = AuditTrail(sessionmaker(), metadata=sa.MetaData(), mac_key=None)
    with database.request(), database.engine.begin() as connection:
        connection.execute(people.insert(), {"email": "kim"})

    assert trail.mac_key is None  # it lives
    assert database.operations() == ["INSERT", "COMMIT"]


def test_nothing_while_suppressed(database: Database) -> None:
    """Suppressed instrumentation, as in the worker, makes no span of any kind."""
    with database.request(), suppress_instrumentation(), database.engine.begin() as connection:
        connection.execute(people.insert(), {"email": "kim"})

    assert database.spans() == []


def test_instrumenting_again_changes_nothing(database: Database) -> None:
    """A second instrumentation of the same engine does not double the spans."""
    instrument_engine(database.engine, database.telemetry)
    with database.request(), database.engine.begin() as connection:
        connection.execute(people.insert(), {"email": "kim"})

    assert database.operations() == ["INSERT", "COMMIT"]


def test_two_engines_report_to_their_own_providers(database: Database, tmp_path: Any) -> None:
    """A second engine with telemetry of its own takes nothing from the first, nor adds to it."""
    for other in database_at(f"sqlite:///{tmp_path}/other.db"):
        for each in (database, other):
            with each.request(), each.engine.begin() as connection:
                connection.execute(people.insert(), {"email": "kim"})

        assert [database.operations(), other.operations()] == [["INSERT", "COMMIT"]] * 2


def test_lost_connection_leaves_no_mark(database: Database) -> None:
    """A transaction on an invalidated connection is not rolled back, and no later one is either."""
    with database.request():
        with database.engine.connect() as connection:
            connection.execute(people.insert(), {"email": "kim"})
            connection.invalidate()
            connection.rollback()
        with database.engine.begin() as connection:
            connection.execute(sa.select(people.c.id))

    assert database.operations() == ["INSERT", "SELECT", "COMMIT"]


def test_failed_statement_says_the_kind_of_failure(database: Database) -> None:
    """A failed statement's span has the exception's type and the database's code, and no value."""
    with database.request(), suppress(sa.exc.IntegrityError), database.engine.begin() as connection:
        connection.execute(people.insert(), {"email": SECRET})
        connection.execute(people.insert(), {"email": SECRET})

    _, failed, rollback = database.spans()
    expected = {
        "sqlite": ("sqlite3.IntegrityError", "SQLITE_CONSTRAINT_UNIQUE"),
        "postgresql": ("psycopg.errors.UniqueViolation", "23505"),
    }
    attributes = failed.attributes or {}
    assert expected[database.engine.dialect.name] == (
        attributes["error.type"],
        attributes["db.response.status_code"],
    )
    assert (StatusCode.ERROR, attributes["error.type"]) == (
        failed.status.status_code,
        failed.status.description,
    )
    assert rollback.name == "ROLLBACK"
    assert SECRET not in failed.to_json()


def test_failed_commit_is_an_error(postgresql_database: Database) -> None:
    """A COMMIT that fails has an ERROR span with the kind of failure; the caller gets the error."""
    with (
        postgresql_database.request(),
        pytest.raises(sa.exc.IntegrityError),
        postgresql_database.engine.begin() as connection,
    ):
        connection.execute(pets.insert(), {"owner": NOBODY})

    _, commit, *_ = postgresql_database.spans()
    attributes = commit.attributes or {}
    assert (
        commit.name,
        commit.status.status_code,
        commit.status.description,
        attributes["db.response.status_code"],
    ) == ("COMMIT", StatusCode.ERROR, "psycopg.errors.ForeignKeyViolation", "23503")
    assert commit.events == ()
    assert str(NOBODY) not in commit.to_json()


def failure_of(engine: sa.Engine, statement: sa.Executable, *rows: dict[str, Any]) -> str:
    """Everything a log record would say about this statement's failure."""
    try:
        with engine.begin() as connection:
            for row in rows:
                connection.execute(statement, row)
    except sa.exc.DBAPIError as error:
        text = describe(error)
        return f"{text.type} {text.message} {text.stacktrace}"
    raise AssertionError("the statement did not fail")


@pytest.mark.parametrize(
    ("statement", "rows", "told"),
    [
        (people.insert(), [{"email": SECRET}] * 2, "people_email_key"),
        (sa.text("SELECT CAST(:value AS uuid)"), [{"value": SECRET}], "22P02"),
        (sa.text("SELECT CAST(:value AS integer)"), [{"value": SECRET}], "22P02"),
        (
            sa.text("INSERT INTO people (id, email) VALUES (NULL, :email)"),
            [{"email": SECRET}],
            "23502",
        ),
    ],
)
def test_log_does_not_quote_postgresql(
    postgresql_database: Database,
    statement: sa.Executable,
    rows: list[dict[str, Any]],
    told: str,
) -> None:
    """What PostgreSQL quotes in DETAIL or in its message is in no text that we log."""
    text = failure_of(postgresql_database.engine, statement, *rows)

    assert told in text
    assert SECRET not in text


def test_log_says_why_there_is_no_connection(tmp_path: Any) -> None:
    """A failed connection keeps the driver's words: they are what an operator needs."""
    engine = sa.create_engine(f"postgresql+psycopg://kim:{SECRET}@/app?host={tmp_path}")
    text = failure_of(engine, sa.text("SELECT 1"), {})

    assert "No such file or directory" in text
    assert SECRET not in text
