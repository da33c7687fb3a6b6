"""Ordinary code whose changes Python does not know, or knows wrongly: the trail has the table's."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    Column,
    DateTime,
    Dialect,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    Numeric,
    PickleType,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
)
from sqlalchemy.types import TypeDecorator

from auditspan import Actor, audit_context
from integration.capture.application import make_application


def test_a_child_of_an_expired_parent_is_recorded(engine: Engine) -> None:
    """The parent that a commit has expired is loaded while the child is inserted."""

    class Base(DeclarativeBase):
        pass

    class Forum(Base):
        __tablename__ = "forum"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class Topic(Base):
        __tablename__ = "topic"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        forum_id: Mapped[int] = mapped_column(ForeignKey("forum.id"))
        forum: Mapped[Forum] = relationship()

    application = make_application(engine, Base.metadata)
    with audit_context(actor=Actor.user(1)), application.sessions() as session:
        forum = Forum()
        session.add(forum)
        session.commit()
        session.add(Topic(forum=forum))
        session.commit()
    assert ["forum.create", "topic.create"] == [event["action"] for event in application.events()]
    application.check()


def test_python_side_onupdate_of_many_objects_is_recorded_one_by_one(engine: Engine) -> None:
    """Each of three objects of one flush has its own value."""

    class Base(DeclarativeBase):
        pass

    counter = iter(range(1, 10))

    class Item(Base):
        __tablename__ = "item"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        seen: Mapped[int | None] = mapped_column(onupdate=lambda: next(counter))

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add_all([Item(id=n, name="a") for n in (1, 2, 3)])
    with application.unit_of_work() as session:
        for item in session.scalars(select(Item).order_by(Item.id)):
            item.name = "b"
    assert [None, None, None, 1, 2, 3] == application.news("seen")
    application.check()


class Reversed(TypeDecorator[str]):
    """Stands for an encrypting type: the table never holds what Python has."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else value[::-1]

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else value[::-1]


def test_of_a_decorated_type_the_trail_has_what_the_column_holds(engine: Engine) -> None:
    """Never Python's value, by whichever route it was written."""

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "note"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str] = mapped_column(Reversed())

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Note(id=1, body="abc"))
        session.flush()
        session.execute(update(Note).values(body="def"))
        session.execute(text("UPDATE note SET body = 'ihg'"))
    assert ["cba", "fed", "ihg"] == application.news("body")
    application.check()


def test_an_expression_at_insert_is_recorded_as_its_result(engine: Engine) -> None:
    """`T(s=func.upper("abc"))` is `ABC`."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        s: Mapped[str]

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Word(s=func.upper("abc")))
    assert ["ABC"] == application.news("s")
    application.check()


def test_a_stale_object_that_is_set_to_what_the_row_holds_has_not_changed(engine: Engine) -> None:
    """What another transaction has already written is no change."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        s: Mapped[str]

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Word(id=1, s="old"))
    with audit_context(actor=Actor.user(1)), application.sessions() as session:
        stale = session.get_one(Word, 1)
        session.expire_on_commit = False
        session.commit()
        with application.unit_of_work() as other:
            other.execute(update(Word).values(s="new"))
        stale.s = "new"
        session.commit()
    assert ["old", "new"] == application.news("s")
    application.check()


def test_a_default_that_looks_at_its_row_is_recorded_for_each(engine: Engine) -> None:
    """A default of `get_current_parameters()` differs from row to row."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        twice: Mapped[int] = mapped_column(
            default=lambda context: 2 * context.get_current_parameters()["id"]
        )

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.execute(insert(Word), [{"id": 1}, {"id": 2}, {"id": 3}])
    assert [2, 4, 6] == application.news("twice")
    application.check()


LOW = "CREATE FUNCTION low() RETURNS trigger LANGUAGE plpgsql AS $$ {} $$"
TRIGGERS = {
    "sqlite": ["CREATE TRIGGER low AFTER INSERT ON word BEGIN UPDATE word SET s = 'low'; END"],
    "postgresql": [
        LOW.format("BEGIN NEW.s := 'low'; RETURN NEW; END"),
        "CREATE TRIGGER low BEFORE INSERT ON word FOR EACH ROW EXECUTE FUNCTION low()",
    ],
}


def test_value_changed_by_a_trigger_of_the_application_is_recorded(engine: Engine) -> None:
    """The last value that the trail tells is the one in the table."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        s: Mapped[str]

    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for statement in TRIGGERS[engine.dialect.name]:
            connection.exec_driver_sql(statement)
    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Word(id=1, s="HIGH"))
    assert "low" == application.news("s")[-1]
    application.check()


@pytest.mark.parametrize("route", ["object", "statement", "text"])
def test_one_stored_value_has_one_recorded_form(engine: Engine, route: str) -> None:
    """2.50 in a numeric column, an aware time in a naive one, and a padded key."""

    class Base(DeclarativeBase):
        pass

    class Price(Base):
        __tablename__ = "price"
        __audit__ = True
        code: Mapped[str] = mapped_column(CHAR(3), primary_key=True)
        amount: Mapped[Any] = mapped_column(Numeric(10, 2))
        at: Mapped[Any] = mapped_column(DateTime)

    application = make_application(engine, Base.metadata)
    at = datetime.fromisoformat("2026-01-01T12:00:00")
    with application.unit_of_work() as session:
        if route == "object":
            session.add(Price(code="abc", amount=Decimal("2.5"), at=at))
        elif route == "statement":
            session.execute(insert(Price).values(code="abc", amount=Decimal("2.50"), at=at))
        else:
            session.execute(
                text("INSERT INTO price VALUES ('abc', 2.50, '2026-01-01 12:00:00.000000')")
            )
    ((action, id_, changes),) = application.told()
    assert ("price.create", "abc") == (action, id_)
    assert {
        "code": {"new": "abc"},
        "amount": {"new": "2.5"},
        "at": {"new": "2026-01-01T12:00:00.000000"},
    } == changes
    application.check()


def test_an_aware_time_is_recorded_as_the_column_holds_it(engine: Engine) -> None:
    """In a column with a zone it is in UTC on PostgreSQL; SQLite drops the zone."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Word(id=1, at=datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))))
    expected = {
        "sqlite": "2026-01-01T12:00:00.000000",
        "postgresql": "2026-01-01T10:00:00.000000Z",
    }
    assert [expected[engine.dialect.name]] == application.news("at")
    application.check()


def test_pickled_values_are_recorded_as_their_bytes(engine: Engine) -> None:
    """The trail needs no form for what is inside."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        thing: Mapped[Any] = mapped_column(PickleType)

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Word(id=1, thing={1, 2}))
    with engine.connect() as connection:
        raw = connection.scalar(select(literal_column("thing", LargeBinary)).select_from(Word))
    assert [base64.b64encode(raw or b"").decode()] == application.news("thing")
    application.check()


def words(base: type[DeclarativeBase]) -> Table:
    """A table of words with numbers."""
    return Table(
        "word",
        base.metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer),
        info={"audit": True},
    )


@pytest.mark.parametrize("count", [5_000, pytest.param(70_000, marks=pytest.mark.slow)])
def test_statements_by_many_parameters_are_recorded_row_by_row(engine: Engine, count: int) -> None:
    """An `update()` of 1,000 rows, and a `delete()` by as many parameters as rows."""

    class Base(DeclarativeBase):
        pass

    word = words(Base)
    application = make_application(engine, Base.metadata)
    numbers = range(1, count + 1)
    with audit_context(actor=Actor.user(1)), engine.begin() as connection:
        with application.trail.unaudited(reason="what there was before"):
            connection.execute(insert(word), [{"id": n, "n": 0} for n in numbers])
        changed = update(word).where(word.c.id == text(":key")).values(n=text(":value"))
        connection.execute(changed, [{"key": n, "value": n} for n in numbers[:1_000]])
        gone = delete(word).where(word.c.id == text(":key"))
        connection.execute(gone, [{"key": n} for n in numbers])
    deleted = [id_ for action, id_, _ in application.told() if action == "word.delete"]
    updated = [id_ for action, id_, _ in application.told() if action == "word.update"]
    assert [str(n) for n in numbers] == deleted
    assert [str(n) for n in numbers[:1_000]] == updated


def test_volatile_criteria_are_recorded_as_they_fell_out(engine: Engine) -> None:
    """`random()` is asked once, by the statement itself."""

    class Base(DeclarativeBase):
        pass

    word = words(Base)
    application = make_application(engine, Base.metadata)
    with audit_context(actor=Actor.user(1)), engine.begin() as connection:
        connection.execute(insert(word), [{"id": n, "n": 0} for n in range(1, 101)])
        chance = "random() > 0" if engine.dialect.name == "sqlite" else "random() > 0.5"
        connection.execute(update(word).where(text(chance)).values(n=1))
        changed = connection.scalar(select(func.count()).where(word.c.n == 1))
    assert changed == [e["action"] for e in application.events()].count("word.update")
    application.check()


def test_text_of_a_second_engine_is_recorded(engine: Engine) -> None:
    """The trail knows the database of the other engine by its address."""

    class Base(DeclarativeBase):
        pass

    words(Base)
    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.execute(text("INSERT INTO word VALUES (1, 1)"))
    other = create_engine(engine.url)
    with audit_context(actor=Actor.user(2)), other.begin() as connection:
        connection.exec_driver_sql("UPDATE word SET n = 2")
    other.dispose()
    assert ["7", "2"] == [event["actor"]["id"] for event in application.events()]
    application.check()


def test_returning_of_a_statement_is_read_as_objects(engine: Engine) -> None:
    """`select(A).from_statement(insert(A).returning(A))`."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int]

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        made = insert(Word).values(n=1).returning(Word)
        assert [1] == [word.n for word in session.scalars(select(Word).from_statement(made))]
    assert ["word.create"] == [event["action"] for event in application.events()]
    application.check()


def test_a_key_that_changes_by_an_expression_is_recorded(engine: Engine) -> None:
    """The object has its new id, and the change tells the old one."""

    class Base(DeclarativeBase):
        pass

    word = words(Base)
    application = make_application(engine, Base.metadata)
    with audit_context(actor=Actor.user(1)), engine.begin() as connection:
        connection.execute(insert(word).values(id=1, n=0))
        connection.execute(update(word).values(id=word.c.id + 10))
    assert ("word.update", "11", {"id": {"old": 1, "new": 11}}) == application.told()[-1]
    application.check()


def test_a_context_inside_a_savepoint_that_is_rolled_back_takes_nothing_with_it(
    engine: Engine,
) -> None:
    """What is written after it belongs to the outer context again."""

    class Base(DeclarativeBase):
        pass

    word = words(Base)
    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.execute(insert(word).values(id=1, n=0))
        savepoint = session.begin_nested()
        with audit_context(actor=Actor.user("inner")):
            session.execute(insert(word).values(id=2, n=0))
        savepoint.rollback()
        session.execute(insert(word).values(id=3, n=0))
        with audit_context(actor=Actor.user("last")):
            session.execute(insert(word).values(id=4, n=0))
    told = [(event["target"]["id"], event["actor"]["id"]) for event in application.events()]
    assert [("1", "7"), ("3", "7"), ("4", "last")] == told
    application.check()


def test_a_session_inside_a_mapper_hook_is_recorded(engine: Engine) -> None:
    """A hook that writes through the connection of the flush."""

    class Base(DeclarativeBase):
        pass

    word = words(Base)

    class Thing(Base):
        __tablename__ = "thing"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    @event.listens_for(Thing, "after_insert")
    def hook(_mapper: object, connection: Any, thing: Thing) -> None:
        with Session(connection) as inner:
            inner.execute(insert(word).values(id=thing.id, n=1))

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Thing(id=5))
    assert ["thing.create", "word.create"] == [e["action"] for e in application.events()]
    application.check()


def test_a_second_class_on_an_audited_table_is_recorded_as_the_first(engine: Engine) -> None:
    """The table is audited, whichever class writes to it."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "word"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int]

    class Shadow(Base):
        __table__ = Word.__table__

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Shadow(id=1, n=2))
    assert [("word.create", "1")] == [told[:2] for told in application.told()]
    application.check()


def test_a_rolled_back_transaction_leaves_nothing(engine: Engine) -> None:
    """Neither rows nor anything staged."""

    class Base(DeclarativeBase):
        pass

    word = words(Base)
    application = make_application(engine, Base.metadata)
    with audit_context(actor=Actor.user(1)), application.sessions() as session:
        session.execute(insert(word).values(id=1, n=0))
        session.rollback()
    assert [] == application.events()
    application.check()


def test_the_counts_of_unaudited_work_are_recorded(engine: Engine) -> None:
    """One record for each table and operation, with the reason and the number of rows."""

    class Base(DeclarativeBase):
        pass

    word = words(Base)
    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.execute(insert(word).values(id=1, n=0))
        with application.trail.unaudited(reason="import"):
            session.execute(insert(word), [{"id": n, "n": 0} for n in range(2, 12)])
            session.execute(update(word).values(n=1))
    told = [(e["action"], e["reason"], e["metadata"]) for e in application.events()]
    assert [
        ("word.create", None, {}),
        ("word.statement", "import", {"statement": "insert", "rows": 10}),
        ("word.statement", "import", {"statement": "update", "rows": 11}),
    ] == told


def test_links_removed_by_a_cascade_are_recorded(engine: Engine) -> None:
    """PostgreSQL fires their triggers behind that of the row itself, SQLite before it."""

    class Base(DeclarativeBase):
        pass

    tagged = Table(
        "tagged",
        Base.metadata,
        Column("post", ForeignKey("post.id", ondelete="CASCADE"), primary_key=True),
        Column("tag", Integer, primary_key=True),
    )

    class Tag(Base):
        __tablename__ = "tag"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class Post(Base):
        __tablename__ = "post"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        tags: Mapped[list[Tag]] = relationship(
            secondary=tagged,
            secondaryjoin=lambda: Tag.id == tagged.c.tag,
            foreign_keys=[tagged.c.post, tagged.c.tag],
        )

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(Post(id=1, tags=[Tag(id=1), Tag(id=2)]))
    with application.unit_of_work() as session:
        session.execute(text("DELETE FROM post"))
    told = sorted((action, changes.get("tags")) for action, _, changes in application.told()[-2:])
    assert [("post.delete", None), ("post.update", {"removed": ["1", "2"]})] == told
    application.check()


def test_a_class_that_is_mapped_late_changes_nothing_for_others(engine: Engine) -> None:
    """What is known of tables is read again, and the statement that comes next names a copy."""

    class Base(DeclarativeBase):
        pass

    class City(Base):
        __tablename__ = "city"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    application = make_application(engine, Base.metadata)
    with application.unit_of_work() as session:
        session.add(City(id=1, name="Bern"))

    class Late(Base):
        __tablename__ = "late"
        id: Mapped[int] = mapped_column(primary_key=True)

    with application.unit_of_work() as session:
        session.execute(update(City).values(name="Berne"))
    with application.unit_of_work() as session:
        session.add(City(id=2, name="Thun"))
    actions = [action for action, _id, _changes in application.told()]
    assert ["city.create", "city.update", "city.create"] == actions
    application.check()
