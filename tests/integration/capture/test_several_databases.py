"""One session with several databases: each has its own audit tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from auditspan import AuditTrail, AuditWriteError, audit_context
from auditspan.storage.tables import audit_tables
from integration.capture.application import KIM, Application
from integration.library.world import sqlite_engine_at
from support.postgres import empty_database


@pytest.fixture(params=["sqlite", "postgresql"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Engine, Engine]]:
    """Two databases of one kind, without a table."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            made = [sqlite_engine_at(tmp_path / f"{name}.db") for name in "ab"]
        else:
            made = [create_engine(stack.enter_context(empty_database())) for _ in "ab"]
        yield made[0], made[1]
        for engine in made:
            engine.dispose()


class Base(DeclarativeBase):
    """Models in two databases."""


class Book(Base):
    """In the first database."""

    __tablename__ = "book"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


class Loan(Base):
    """In the second database."""

    __tablename__ = "loan"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str]


def applications(engines: tuple[Engine, Engine], **options: Any) -> tuple[Application, ...]:
    """The same sessions and trail, seen from each database."""
    sessions = sessionmaker(**options)
    trail = AuditTrail(sessions, metadata=Base.metadata)
    for engine in engines:
        Base.metadata.create_all(engine)
    return tuple(
        Application(engine=engine, metadata=Base.metadata, sessions=sessions, trail=trail)
        for engine in engines
    )


def targets(application: Application) -> list[tuple[str, str | None]]:
    """The actions and target ids that the trail in this database tells."""
    return [(action, id_) for action, id_, _ in application.told()]


def test_each_database_tells_of_its_own_rows(engines: tuple[Engine, Engine]) -> None:
    """One commit over two databases of a session with `binds`."""
    first, second = applications(engines, binds={Book: engines[0], Loan: engines[1]})
    with first.unit_of_work() as session:
        session.add_all([Book(id=1, title="Emma"), Loan(id=5, who="Ada")])
    assert [("book.create", "1")] == targets(first)
    assert [("loan.create", "5")] == targets(second)
    first.check()
    second.check()


def test_a_refusal_in_one_database_refuses_the_commit_in_the_other(
    engines: tuple[Engine, Engine],
) -> None:
    """Whichever comes first, neither has rows or records afterwards."""
    first, second = applications(engines, binds={Book: engines[0], Loan: engines[1]})
    # A session commits in the order of a set, by address; sessions that are kept have others.
    with ExitStack() as kept:
        for broken in engines:
            with broken.begin() as connection:
                connection.execute(text("ALTER TABLE audit_event RENAME TO audit_gone"))
            for _ in range(8):
                session = kept.enter_context(first.sessions())
                with audit_context(actor=KIM):
                    session.add_all([Book(id=1, title="Emma"), Loan(id=5, who="Ada")])
                    with pytest.raises(AuditWriteError):
                        session.commit()
                session.rollback()
            with broken.begin() as connection:
                connection.execute(text("ALTER TABLE audit_gone RENAME TO audit_event"))
            with first.sessions() as session:
                assert ([], []) == (session.query(Book).all(), session.query(Loan).all())
            assert [] == targets(first) + targets(second)


def test_each_shard_tells_of_its_own_rows(engines: tuple[Engine, Engine]) -> None:
    """SQLAlchemy's horizontal sharding, the same tables in two databases."""
    first, second = applications(
        engines,
        class_=ShardedSession,
        shards=dict(zip("ab", engines, strict=True)),
        shard_chooser=lambda _mapper, instance, _clause=None: "ab"[instance.id % 2],
        identity_chooser=lambda _mapper, key, **_options: ["ab"[key[0] % 2]],
        execute_chooser=lambda _context: ["a", "b"],
    )
    with first.unit_of_work() as session:
        session.add_all([Book(id=number, title="x") for number in (1, 2, 3)])
    assert [("book.create", "2")] == targets(first)
    assert [("book.create", "1"), ("book.create", "3")] == targets(second)
    first.check()
    second.check()


def test_a_bind_of_flask_sqlalchemy_is_under_the_trail(engines: tuple[Engine, Engine]) -> None:
    """`__bind_key__`: models of one base in two metadatas."""
    db = SQLAlchemy()
    trail = AuditTrail(db.session, metadata=db.metadata)

    class Here(db.Model):  # type: ignore[name-defined, misc]
        __audit__ = True
        id = db.Column(db.Integer, primary_key=True)

    class There(db.Model):  # type: ignore[name-defined, misc]
        __bind_key__ = "other"
        __audit__ = True
        id = db.Column(db.Integer, primary_key=True)

    audit_tables(db.metadatas["other"])
    urls = [engine.url.render_as_string(hide_password=False) for engine in engines]
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"], app.config["SQLALCHEMY_BINDS"] = (
        urls[0],
        {"other": urls[1]},
    )
    db.init_app(app)
    with app.app_context():
        db.create_all()
        with audit_context(actor=KIM):
            db.session.add_all([Here(id=1), There(id=2)])
            db.session.commit()
            db.session.execute(db.update(There).values(id=3))
            db.session.execute(text("UPDATE here SET id = 4"))
            db.session.commit()
        for engine in db.engines.values():
            engine.dispose()
    first, second = (
        Application(engine=engine, metadata=db.metadata, sessions=sessionmaker(), trail=trail)
        for engine in engines
    )
    assert [("here.create", "1"), ("here.update", "4")] == targets(first)
    assert [("there.create", "2"), ("there.update", "3")] == targets(second)
