"""The settings that a trail gives to SQLite, for each kind of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy_lite import SQLAlchemy as LiteSQLAlchemy
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from auditspan import Actor, AuditTrail, audit_context

PRAGMAS = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
SET_UP = ("wal", 2, 1, 30_000)


class Base(DeclarativeBase):
    """The base of the notes; each trail in here has metadata of its own."""


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)


def pragmas(session: Session) -> tuple[object, ...]:
    """Return the settings of the session's connection, and close it."""
    found = tuple(session.execute(text(f"PRAGMA {name}")).scalar() for name in PRAGMAS)
    session.close()
    session.get_bind(clause=text("")).engine.dispose()
    return found


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'notes.db'}"


def of_sessionmaker(url: str, **options: Any) -> tuple[object, ...]:
    sessions = sessionmaker(create_engine(url))
    AuditTrail(sessions, metadata=MetaData(), **options)
    with sessions() as session:
        return pragmas(session)


def of_session_bound_later(url: str, **options: Any) -> tuple[object, ...]:
    sessions = sessionmaker()
    AuditTrail(sessions, metadata=MetaData(), **options)
    with sessions(bind=create_engine(url)) as session:
        return pragmas(session)


def of_second_bind(url: str, **options: Any) -> tuple[object, ...]:
    second = create_engine(url)
    sessions = sessionmaker(binds={Base: create_engine("sqlite://"), Note: second})
    AuditTrail(sessions, metadata=MetaData(), **options)
    with Session(second) as session:
        return pragmas(session)


def of_flask_sqlalchemy(url: str, **options: Any) -> tuple[object, ...]:
    app, db = Flask(__name__), SQLAlchemy()
    AuditTrail(db.session, metadata=db.metadata, **options)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        return pragmas(db.session())


def of_flask_sqlalchemy_lite(url: str, **options: Any) -> tuple[object, ...]:
    app, db = Flask(__name__), LiteSQLAlchemy()
    app.config["SQLALCHEMY_ENGINES"] = {"default": url}
    db.init_app(app)
    with app.app_context():
        AuditTrail(db.sessionmaker, metadata=MetaData(), **options)
        return pragmas(db.session)


def of_async_sessionmaker(url: str, **options: Any) -> tuple[object, ...]:
    async def found() -> tuple[object, ...]:
        engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
        sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(engine)
        AuditTrail(sessions, metadata=MetaData(), **options)
        async with sessions() as session:
            answer = await session.run_sync(pragmas)
        await engine.dispose()
        return answer

    return asyncio.run(found())


@pytest.mark.parametrize(
    "found",
    [
        of_sessionmaker,
        of_session_bound_later,
        of_second_bind,
        of_flask_sqlalchemy,
        of_flask_sqlalchemy_lite,
        of_async_sessionmaker,
    ],
)
def test_trail_sets_up_sqlite_from_the_first_transaction(
    found: Callable[..., tuple[object, ...]], url: str
) -> None:
    """WAL, durable commits, foreign keys and patience, for whatever makes the sessions."""
    assert SET_UP == found(url)


def test_settings_can_be_switched_off(url: str) -> None:
    """With `sqlite_settings=False` a connection is as the driver opens it."""
    assert ("delete", 2, 0, 5_000) == of_sessionmaker(url, sqlite_settings=False)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = create_engine(url, connect_args={"timeout": 0.2})
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def audited_notes(engine: Engine) -> sessionmaker[Session]:
    """Return sessions under a trail, with the audit tables."""
    sessions, metadata = sessionmaker(engine), MetaData()
    AuditTrail(sessions, metadata=metadata)
    metadata.create_all(engine)
    return sessions


def test_open_reader_does_not_stop_a_writer(engine: Engine) -> None:
    """A session that has only read holds no lock, and then reads what another has committed."""
    sessions = audited_notes(engine)
    with sessions() as reader, audit_context(actor=Actor.system("test")):
        assert 0 == reader.query(Note).count()
        with sessions.begin() as writer:
            writer.add(Note(id=1))
        assert 1 == reader.query(Note).count()
        reader.add(Note(id=2))
        reader.commit()
        assert 2 == reader.query(Note).count()


def test_writer_excludes_another_from_its_first_write(engine: Engine) -> None:
    """The first write takes the lock with BEGIN IMMEDIATE, so the second writer waits, in vain."""
    sessions = audited_notes(engine)
    with sessions() as first, sessions() as second:
        first.execute(text("DELETE FROM note"))
        with pytest.raises(OperationalError, match="locked"):
            second.execute(text("DELETE FROM note"))


def test_own_begin_of_the_application_is_kept(engine: Engine) -> None:
    """SQLAlchemy's recipe for savepoints, listeners that emit BEGIN, works on as before."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    sessions = audited_notes(engine)
    with audit_context(actor=Actor.system("test")), sessions.begin() as session:
        session.add(Note(id=1))
        with session.begin_nested() as nested:
            session.add(Note(id=2))
            session.flush()
            nested.rollback()
    with sessions() as session:
        assert (1, ("wal", 2, 1, 200)) == (session.query(Note).count(), pragmas(session))


def test_foreign_keys_are_not_checked_in_a_migration(engine: Engine) -> None:
    """Alembic's batch mode drops tables, and SQLite would delete the rows that refer to them."""
    sessions, pragma = audited_notes(engine), text("PRAGMA foreign_keys")
    with sessions() as session:
        assert 1 == session.scalar(pragma)
    with (
        EnvironmentContext(Config(), ScriptDirectory(str(Path.cwd()))),
        engine.connect() as connection,
    ):
        assert 0 == connection.scalar(pragma)
    with sessions() as session:
        assert 1 == session.scalar(pragma)


def test_driver_errors_at_the_beginning_are_those_of_sqlalchemy(tmp_path: Path) -> None:
    """An application, and a command, handles a damaged file like any failure of its database."""
    file = tmp_path / "notes.db"
    file.write_bytes(b"not a database" * 1000)
    sessions = sessionmaker(create_engine(f"sqlite:///{file}"))
    AuditTrail(sessions, metadata=MetaData(), mac_key=None)
    with sessions() as session, pytest.raises(DatabaseError, match="file is not a database"):
        session.execute(text("SELECT 1"))
