"""The state check: what it says of honest tables, and of every way of changing them unseen."""

from __future__ import annotations

import json
import random
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    DateTime,
    Engine,
    ForeignKey,
    MetaData,
    Numeric,
    String,
    Table,
    create_engine,
    make_url,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

from auditspan import Actor, AuditConfigError, AuditTrail, MacKey, Policy, Service, audit_context
from auditspan.cli.commands.verify import of_state, with_state
from auditspan.format.ids import uuid7
from auditspan.format.record import AuditRecord, Outcome
from auditspan.format.record_parts import Target
from auditspan.format.redaction import redact, shorten
from auditspan.reading.replay import ObjectStore
from auditspan.storage.new_events import insert_records
from auditspan.storage.tables import AuditTables, audit_tables
from auditspan.verify.state import Difference, StateReport, check_state
from integration.library.world import sqlite_engine_at
from support.templates import Template

KEY = MacKey.from_secret(bytes(range(32)))
OTHER_KEY = MacKey.from_secret(bytes(32))
PLANTED = "planted-s3cret"
LONG = "long " * 5000
GOOD = "the tables match the trail"


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    full_name: Mapped[str | None] = mapped_column("fullName")


class Account(Base):
    __tablename__ = "account"
    __audit__ = Policy(redact={"iban"}, exclude={"notes"}, ignore={"touched_at"}, name="konto")

    id: Mapped[int] = mapped_column(primary_key=True)
    password: Mapped[str]
    iban: Mapped[str | None]
    notes: Mapped[str | None]
    touched_at: Mapped[int] = mapped_column(default=0)


class Chosen(Base):
    __tablename__ = "chosen"
    __audit__ = Policy(include={"api_key"})

    id: Mapped[int] = mapped_column(primary_key=True)
    api_key: Mapped[str]
    rest: Mapped[str | None]


class Seat(Base):
    __tablename__ = "seat"
    __audit__ = True

    row: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    taken: Mapped[bool] = mapped_column(default=False)


class Note(Base):
    __tablename__ = "note"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]
    data: Mapped[Any] = mapped_column(JSON, nullable=True)
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    seen: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Employee(Base):
    __tablename__ = "employee"
    __audit__ = True
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]


class Manager(Employee):
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012

    level: Mapped[int | None]


class Vehicle(Base):
    __tablename__ = "vehicle"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    wheels: Mapped[int]


class Car(Vehicle):
    """Joined, without a discriminator, under a key of another name."""

    __tablename__ = "car"

    id: Mapped[int] = mapped_column("car_id", ForeignKey("vehicle.id"), primary_key=True)
    doors: Mapped[int]


class Tag(Base):
    __tablename__ = "tag"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)


post_tag = Table(
    "post_tag",
    Base.metadata,
    Column("post_id", ForeignKey("post.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)


class Post(Base):
    __tablename__ = "post"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list[Tag]] = relationship(secondary=post_tag)


class Plain(Base):
    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True)


setting = Table(
    "setting",
    Base.metadata,
    Column("name", String, primary_key=True),
    Column("value", String),
    info={"audit": True},
)
TABLES = audit_tables(Base.metadata)

#: What of a difference a test names: kind, table, key and field.
Named = tuple[str, str, str | None, str | None]
Keys = MacKey | tuple[MacKey, ...] | None


@dataclass
class State:
    """Tables with their trail."""

    engine: Engine

    def report(self, mac_key: Keys = KEY, **options: Any) -> StateReport:
        """Return the report of the check."""
        with self.snapshot() as connection:
            return check_state(connection, TABLES, Base.metadata, mac_key=mac_key, **options)

    def found(self, mac_key: Keys = KEY) -> set[Named]:
        """The differences, without their values."""
        return {named(one) for one in self.report(mac_key).differences}

    def run(self, statement: str, **values: Any) -> None:
        """Execute a statement with the database's own tools, past SQLAlchemy and the guard."""
        connection = self.engine.raw_connection()
        if self.engine.dialect.name == "postgresql" and values:
            statement = re.sub(r":([a-z]\w*)", r"%(\1)s", statement)
        connection.cursor().execute(statement, values or ())
        connection.commit()
        connection.close()

    def tell(self, *events: Told, key: MacKey = KEY) -> None:
        """Write events into the trail past all capture."""
        with self.engine.begin() as connection:
            insert_records(connection, TABLES, [one.record() for one in events], key)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection as the check wants it."""
        with self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection


_ids = count()


@dataclass
class Told:
    """An event as the trail would tell it."""

    action: str
    id: str | None
    changes: dict[str, dict[str, Any]]
    outcome: Outcome = "success"
    change_id: int | None = None

    def record(self) -> AuditRecord:
        """It as a record."""
        now = datetime.now(UTC)
        number = next(_ids).to_bytes(10, "big")
        return AuditRecord(
            event_id=uuid7(int(now.timestamp() * 1000), number),
            occurred_at=now,
            action=self.action,
            actor=Actor.system("test"),
            tx_id="tx",
            service=Service(name="shop"),
            target=Target(type=self.action.partition(".")[0], id=self.id),
            changes=self.changes,
            outcome=self.outcome,
            change_id=self.change_id,
        )


def created(type_: str, id_: str, **values: Any) -> Told:
    return Told(f"{type_}.create", id_, {name: {"new": value} for name, value in values.items()})


def staged(change_id: int, event: Told) -> Told:
    """The event as one of a staged change."""
    return replace(event, change_id=change_id)


def updated(type_: str, id_: str, **values: tuple[Any, Any]) -> Told:
    changes = {name: {"old": old, "new": new} for name, (old, new) in values.items()}
    return Told(f"{type_}.update", id_, changes)


def deleted(type_: str, id_: str, **values: Any) -> Told:
    return Told(f"{type_}.delete", id_, {name: {"old": value} for name, value in values.items()})


def named(one: Difference) -> Named:
    """The kind and the place of a difference."""
    return (one.kind, one.table, one.key, one.field)


@contextmanager
def engine_at(url: str) -> Iterator[Engine]:
    """An engine of the application's."""
    path = make_url(url).database if url.startswith("sqlite") else None
    made = sqlite_engine_at(Path(path)) if path else create_engine(url)
    yield made
    made.dispose()


def create_tables(url: str, _folder: Path) -> None:
    """Create the tables."""
    with engine_at(url) as engine:
        Base.metadata.create_all(engine)


def fill_tables(url: str, _folder: Path) -> None:
    """Create the tables; fill, change and partly empty them through the application."""
    with engine_at(url) as engine:
        Base.metadata.create_all(engine)
        _use(engine)


EMPTY, FILLED = Template(create_tables), Template(fill_tables)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database with the tables."""
    with EMPTY.copied(request.param, tmp_path) as url, engine_at(url) as made:
        yield made


@pytest.fixture
def empty(engine: Engine) -> State:
    """Tables and a trail with nothing in them."""
    return State(engine)


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """Tables that were filled, changed and partly emptied through the application."""
    with FILLED.copied(request.param, tmp_path) as url, engine_at(url) as made:
        AuditTrail(sessionmaker(made), metadata=Base.metadata, mac_key=KEY)
        yield State(made)


def _use(engine: Engine) -> None:
    sessions = sessionmaker(engine)
    AuditTrail(sessions, metadata=Base.metadata, mac_key=KEY)
    with audit_context(actor=Actor.system("test")):
        with sessions.begin() as session:
            session.add_all(_things())
        with sessions.begin() as session:
            _change(session.get_one)
            session.delete(session.get_one(Person, 3))
    with engine.begin() as connection, audit_context(actor=Actor.system("test")):
        connection.execute(setting.insert(), {"name": "colour", "value": "red"})


def _things() -> list[Any]:
    red, blue = Tag(id=1), Tag(id=2)
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    return [
        *(Person(id=number, full_name=f"Kim {number}") for number in (1, 2, 3)),
        Account(id=1, password=PLANTED, iban=PLANTED, notes="n"),
        Chosen(id=1, api_key="shown", rest="r"),
        *(Seat(row="A", number=number) for number in (1, 2)),
        Note(id=1, text=LONG, data={"a": [1, True]}, price=Decimal("1.50"), seen=moment),
        Employee(id=1, name="Kim"),
        Manager(id=2, name="Lee", level=3),
        Vehicle(id=1, wheels=2),
        Car(id=2, wheels=4, doors=5),
        *(red, blue, Post(id=1, tags=[red, blue]), Post(id=2, tags=[red])),
    ]


def _change(get: Any) -> None:
    """Every way in which an object may change."""
    get(Person, 1).full_name = "Kim Park"
    get(Person, 2).id = 20
    get(Account, 1).password = PLANTED + "2"
    get(Account, 1).touched_at = 5
    get(Seat, ("A", 2)).number = 22
    get(Note, 1).text = LONG + "."
    get(Note, 1).seen += timedelta(hours=1)
    get(Manager, 2).level = 4
    get(Car, 2).doors = 3
    get(Post, 1).tags = [get(Tag, 2)]


def test_honest_tables_are_what_the_trail_says(state: State) -> None:
    """After every way of writing there is no difference, and all rows were compared."""
    report = state.report()
    assert [] == report.differences
    assert report.ok
    rows = "person account chosen seat note employee vehicle tag post setting"
    with state.engine.connect() as connection:
        live = [connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in rows.split()]  # noqa: S608 (no input)
    assert sum(map(int, live)) == report.objects
    assert {"ok": True, "objects": report.objects, "differences": []} == report.to_dict()


TAMPERED: dict[str, tuple[str, set[Named]]] = {
    "deleted": ("DELETE FROM person WHERE id = 1", {("missing-row", "person", "1", None)}),
    "inserted": ("INSERT INTO person (id) VALUES (9)", {("no-history", "person", "9", None)}),
    "changed": (
        """UPDATE person SET "fullName" = 'x' WHERE id = 1""",
        {("field", "person", "1", "fullName")},
    ),
    "emptied": (
        """UPDATE person SET "fullName" = NULL WHERE id = 20""",
        {("field", "person", "20", "fullName")},
    ),
    "key": (
        "UPDATE person SET id = 99 WHERE id = 1",
        {("missing-row", "person", "1", None), ("no-history", "person", "99", None)},
    ),
    "composite key": (
        "UPDATE seat SET taken = true WHERE number = 22",
        {("field", "seat", '["A",22]', "taken")},
    ),
    "redacted": (
        "UPDATE account SET password = 'other-s3cret'",
        {("fingerprint", "account", "1", "password")},
    ),
    "redacted emptied": (
        "UPDATE account SET iban = NULL",
        {("field", "account", "1", "iban")},
    ),
    "excluded and ignored": ("UPDATE account SET notes = 'x', touched_at = 9", set()),
    "included": ("UPDATE chosen SET api_key = 'x'", {("field", "chosen", "1", "api_key")}),
    "not included": ("UPDATE chosen SET rest = 'x'", set()),
    "not audited": ("INSERT INTO plain VALUES (1)", set()),
    "long text": (
        "UPDATE note SET text = replace(text, '.', '!')",
        {("field", "note", "1", "text")},
    ),
    "json": ("""UPDATE note SET data = '{"a": [1, 1]}'""", {("field", "note", "1", "data")}),
    "number": ("UPDATE note SET price = 1.51", {("field", "note", "1", "price")}),
    "moment": (
        "UPDATE note SET seen = '2026-01-01 14:00:00.000000'",
        {("field", "note", "1", "seen")},
    ),
    "subclass": ("UPDATE employee SET level = 1", {("field", "employee", "2", "level")}),
    "class": (
        "UPDATE employee SET kind = 'intruder' WHERE id = 2",
        {("missing-row", "employee", "2", None), ("no-history", "employee", "2", None)},
    ),
    "unknown class": (
        "INSERT INTO employee (id, kind, name) VALUES (9, 'intruder', 'x')",
        {("no-history", "employee", "9", None)},
    ),
    "base of joined": (
        "UPDATE vehicle SET wheels = 3 WHERE id = 2",
        {("field", "vehicle", "2", "wheels")},
    ),
    "joined": ("UPDATE car SET doors = 9", {("field", "car", "2", "doors")}),
    "unlinked": (
        "DELETE FROM post_tag WHERE post_id = 2",
        {("missing-row", "post_tag", "2", "tags")},
    ),
    "linked": (
        "INSERT INTO post_tag (post_id, tag_id) VALUES (1, 1)",
        {("no-history", "post_tag", "1", "tags")},
    ),
    "core table": ("UPDATE setting SET value = 'x'", {("field", "setting", "colour", "value")}),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_every_change_past_the_application_is_named(state: State, case: str) -> None:
    """Table, key and field of what was changed are named, and nothing else is."""
    statement, expected = TAMPERED[case]
    state.run(statement)
    assert expected == state.found()
    assert (not expected) == state.report().ok


def test_a_difference_shows_what_is_recorded_and_what_is_live(state: State) -> None:
    """Values are shortened for people; of a digest the length and hash are shown."""
    state.run("""UPDATE person SET "fullName" = :long WHERE id = 1""", long="x" * 500)
    (one,) = state.report().differences
    assert ("Kim Park", "x" * 79 + "…") == (one.recorded, one.live)
    state.run("""UPDATE person SET "fullName" = 'Kim Park' WHERE id = 1""")
    state.run("UPDATE note SET text = 'short'")
    (one,) = state.report().differences
    assert (shorten(LONG + "."), "short") == (one.recorded, one.live)


def test_secrets_are_never_shown(state: State) -> None:
    """Neither the planted secrets nor those that replaced them stand in a report."""
    state.run("UPDATE account SET password = 'other-s3cret', iban = 'other-s3cret'")
    report = state.report()
    assert 2 == len(report.differences)
    assert "s3cret" not in json.dumps(report.to_dict())
    shown = {(one.recorded, one.live) == ({"$redacted": True},) * 2 for one in report.differences}
    assert {True} == shown


def test_secrets_of_live_rows_are_never_shown(state: State) -> None:
    """A password hash, or a secret member, that was put into a table by hand is not repeated."""
    state.run("UPDATE note SET text = '$2b$12$s3cretuSK8kO4bhj4lCeZ7'")
    state.run("""UPDATE note SET data = '{"password": "s3cret", "city": "x"}'""")
    differences = state.report().differences
    assert {"text", "data"} == {one.field for one in differences}
    assert "s3cret" not in json.dumps([one.live for one in differences])
    assert '"city":"x"' in next(str(one.live) for one in differences if one.field == "data")


@pytest.mark.parametrize("key", [None, OTHER_KEY], ids=["none", "other"])
def test_without_the_key_a_redacted_value_is_compared_by_presence(
    state: State, key: MacKey | None
) -> None:
    """A changed secret cannot be seen then, one that is gone can."""
    state.run("UPDATE account SET password = 'x', iban = NULL")
    assert {("field", "account", "1", "iban")} == state.found(key)


HISTORIES: dict[str, tuple[list[Told], set[Named]]] = {
    "created twice": (
        [created("person", "1", id=1), created("person", "1", id=1)],
        {("contradiction", "person", "1", None)},
    ),
    "update of nothing": (
        [updated("person", "1", fullName=("a", None))],
        {("no-create", "person", "1", None)},
    ),
    "delete of nothing": (
        [deleted("person", "2", id=2), created("person", "1", id=1)],
        {("no-create", "person", "2", None)},
    ),
    "update after delete": (
        [
            created("person", "1", id=1),
            deleted("person", "1", id=1),
            updated("person", "1", fullName=("a", None)),
        ],
        {("no-create", "person", "1", None)},
    ),
    "wrong old value": (
        [
            created("person", "1", id=1, fullName="a"),
            updated("person", "1", fullName=("b", None)),
        ],
        {("contradiction", "person", "1", "fullName")},
    ),
    "wrong last value": (
        [
            created("person", "2", id=2, fullName="a"),
            deleted("person", "2", id=2, fullName="b"),
            created("person", "1", id=1),
        ],
        {("contradiction", "person", "2", "fullName")},
    ),
    "true is not one": (
        [
            created("person", "1", id=1, fullName=True),
            updated("person", "1", fullName=(1, None)),
        ],
        {("contradiction", "person", "1", "fullName")},
    ),
    "a column that was audited later": (
        [created("person", "1", id=1), updated("person", "1", fullName=("a", None))],
        {("no-history", "person", "1", "fullName")},
    ),
    "keys that move up": (
        [
            created("person", "1", id=1, fullName="a"),
            created("person", "0", id=0),
            updated("person", "1", id=(0, 1)),
            updated("person", "2", id=(1, 2)),
            deleted("person", "2", id=2, fullName="a"),
        ],
        set(),
    ),
    "keys that change places": (
        [
            created("person", "1", id=1, fullName="a"),
            created("person", "2", id=2, fullName="b"),
            updated("person", "2", id=(1, 2)),
            updated("person", "1", id=(2, 1)),
            updated("person", "1", fullName=("b", None)),
            deleted("person", "2", id=2, fullName="a"),
        ],
        set(),
    ),
    "two under one key": (
        [
            created("person", "1", id=1),
            created("person", "2", id=2),
            updated("person", "1", id=(2, 1)),
        ],
        {("contradiction", "person", "1", None)},
    ),
    "composite key": (
        [
            created("seat", '["A",1]', row="A", number=1, taken=True),
            updated("seat", '["B",1]', row=("A", "B")),
            deleted("seat", '["B",1]', row="B", number=1, taken=True),
            created("person", "1", id=1),
        ],
        set(),
    ),
    "unknown types": (
        [created("person", "1", id=1), *[created("ghost", "1", id=1)] * 2],
        {("unknown-type", "ghost", None, None)},
    ),
    "statement": (
        [created("person", "1", id=1), *[Told("person.statement", None, {})] * 2],
        {("unaudited-statement", "person", None, None)},
    ),
    "other verbs": (
        [created("person", "1", id=1), Told("person.login", "1", {}), Told("ghost.seen", "1", {})],
        set(),
    ),
    "explicit events": ([created("person", "1", id=1), Told("person.create", "7", {})], set()),
    "ignored columns": (
        [
            created("konto", "1", id=1, touched_at=0),
            updated("konto", "1", touched_at=(7, 8)),
            deleted("konto", "1", id=1, touched_at=9),
            created("person", "1", id=1),
        ],
        set(),
    ),
    "what has failed": (
        [
            created("person", "1", id=1),
            Told("person.update", "1", {"fullName": {"old": "a", "new": "b"}}, "failure"),
        ],
        set(),
    ),
    "removed but never linked": (
        [created("person", "1", id=1), Told("post.update", "1", {"tags": {"removed": ["1"]}})],
        {("no-create", "post", "1", "tags")},
    ),
    "linked twice": (
        [
            created("person", "1", id=1),
            *[Told("post.update", "1", {"tags": {"added": ["1"]}})] * 2,
            Told("post.update", "1", {"tags": {"removed": ["1"]}}),
        ],
        {("contradiction", "post", "1", "tags")},
    ),
    "late update": (
        [
            staged(1, created("person", "1", id=1, fullName="a")),
            staged(3, updated("person", "1", fullName=("b", None))),
            staged(2, updated("person", "1", fullName=("a", "b"))),
        ],
        set(),
    ),
    "late update that does not fit": (
        [
            staged(1, created("person", "1", id=1, fullName="a")),
            staged(3, updated("person", "1", fullName=("b", None))),
            staged(2, updated("person", "1", fullName=("a", "x"))),
        ],
        {("contradiction", "person", "1", "fullName")},
    ),
    "late creation": (
        [
            staged(3, updated("person", "1", fullName=("b", None))),
            staged(2, updated("person", "1", fullName=("a", "b"))),
            staged(1, created("person", "1", id=1, fullName="a")),
        ],
        set(),
    ),
    "late deletion": (
        [
            staged(1, created("person", "1", id=1, fullName="a")),
            staged(3, created("person", "1", id=1)),
            staged(2, deleted("person", "1", id=1, fullName="a")),
        ],
        set(),
    ),
    "late update of what is gone": (
        [
            created("person", "1", id=1),
            staged(1, created("person", "2", id=2, fullName="a")),
            staged(3, deleted("person", "2", id=2, fullName="b")),
            staged(2, updated("person", "2", fullName=("a", "b"))),
        ],
        set(),
    ),
    "late link": (
        [
            created("person", "1", id=1),
            staged(1, Told("post.update", "1", {"tags": {"added": ["1"]}})),
            staged(3, Told("post.update", "1", {"tags": {"added": ["1"]}})),
            staged(4, Told("post.update", "1", {"tags": {"removed": ["1"]}})),
            staged(2, Told("post.update", "1", {"tags": {"removed": ["1"]}})),
        ],
        set(),
    ),
    "staged after unstaged": (
        [
            created("person", "1", id=1, fullName="a"),
            updated("person", "1", fullName=("a", "b")),
            staged(2, updated("person", "1", fullName=("c", None))),
            staged(1, updated("person", "1", fullName=("b", "c"))),
        ],
        set(),
    ),
    "unstaged between staged": (
        [
            staged(1, created("person", "1", id=1, fullName="a")),
            staged(3, updated("person", "1", fullName=("b", "c"))),
            updated("person", "1", fullName=("c", "d")),
            staged(2, updated("person", "1", fullName=("a", "b"))),
            staged(4, updated("person", "1", fullName=("d", None))),
        ],
        set(),
    ),
    "unknown relationship": (
        [created("person", "1", id=1), Told("post.update", "1", {"fans": {"added": ["1"]}})],
        {("unknown-type", "post.fans", None, None)},
    ),
}


@pytest.mark.parametrize("case", HISTORIES)
def test_a_history_that_contradicts_itself_is_named_once(empty: State, case: str) -> None:
    """The table holds person 1 and nothing else; what is wrong is wrong in the trail alone."""
    events, expected = HISTORIES[case]
    empty.run("INSERT INTO person (id) VALUES (1)")
    empty.tell(*events)
    report = empty.report()
    assert sorted(expected) == sorted(map(named, report.differences))
    notices = {kind for kind, *_ in expected} <= {"unknown-type", "unaudited-statement"}
    assert notices == report.ok


def test_many_late_events_are_replayed_in_their_order(empty: State) -> None:
    """However many there are, and the progress counts each once."""
    names = [f"n{number}" for number in range(2500)]
    events = [
        staged(number, updated("person", "1", fullName=(old, new)))
        for number, (old, new) in enumerate(pairwise([*names, None]), 2)
    ]
    empty.run("INSERT INTO person (id) VALUES (1)")
    empty.tell(*reversed(events), staged(1, created("person", "1", id=1, fullName=names[0])))
    seen: list[int] = []
    report = empty.report(progress=lambda more, _total: seen.append(more))
    assert ([], 2501, 2501) == (report.differences, report.events, sum(seen))


def test_notices_count_their_events(empty: State) -> None:
    """A type is named once, with how many events there are."""
    empty.tell(created("person", "1", id=1), deleted("person", "1", id=1))
    empty.tell(*[created("ghost", "1", id=1)] * 3, Told("person.statement", None, {}))
    shown = {one.kind: one.recorded for one in empty.report().differences}
    assert {"unknown-type": "3 events", "unaudited-statement": "1 event"} == shown


def test_a_contradiction_names_the_event(empty: State) -> None:
    """The earlier recorded value is shown beside the old value of the event."""
    empty.tell(created("person", "1", id=1, fullName="a"))
    empty.tell(updated("person", "1", fullName=("b", "c")), deleted("person", "1", fullName="c"))
    (one,) = empty.report().differences
    with empty.engine.connect() as connection:
        action = connection.scalar(
            text("SELECT action FROM audit_event WHERE event_id = :id"), {"id": one.event_id}
        )
    assert ("person.update", "a", "b") == (action, one.recorded, one.live)


def test_rows_from_before_the_trail_are_a_kind_of_their_own(empty: State) -> None:
    """Before and after their first change; what has been recorded since then is compared."""
    empty.run("""INSERT INTO person (id, "fullName") VALUES (1, 'a'), (2, 'b'), (3, 'c')""")
    empty.tell(
        updated("person", "2", fullName=("x", "b")), updated("person", "3", fullName=("x", "y"))
    )
    report = empty.report()
    assert {
        ("no-history", "person", "1", None),
        ("no-create", "person", "2", None),
        ("no-create", "person", "3", None),
        ("field", "person", "3", "fullName"),
    } == set(map(named, report.differences))
    assert {"no-history": 1, "no-create": 2, "field": 1} == report.counts()


def test_a_column_that_is_new_and_filled_has_no_history(empty: State) -> None:
    """A column that was added and filled past the trail is named; one that is empty is not."""
    empty.run("""INSERT INTO person (id, "fullName") VALUES (1, 'a'), (2, NULL)""")
    empty.tell(created("person", "1", id=1), created("person", "2", id=2))
    assert {("no-history", "person", "1", "fullName")} == empty.found()


def test_a_value_may_be_recorded_long_and_short(empty: State) -> None:
    """In a crowded body a value is shortened sooner than in another; both are the same value."""
    value = "v" * 9000
    empty.run("""INSERT INTO person (id, "fullName") VALUES (1, :value)""", value=value)
    empty.tell(
        created("person", "1", id=1, fullName=value),
        updated("person", "1", fullName=(shorten(value, 4096), "x")),
        updated("person", "1", fullName=("x", shorten(value, 4096))),
        updated("person", "1", fullName=(value, shorten(value, 128))),
    )
    assert set() == empty.found()


def test_a_value_may_be_redacted_later(empty: State) -> None:
    """Values in clear text in old events agree with the fingerprints in new ones."""
    empty.run("INSERT INTO account VALUES (1, 'p', 'i', NULL, 0)")
    stand_in = redact("iban", "i", KEY)
    empty.tell(
        created("konto", "1", id=1, password=redact("password", "p", KEY), iban="i"),
        updated("konto", "1", iban=(stand_in, redact("iban", "j", KEY))),
        updated("konto", "1", iban=(redact("iban", "j", KEY), "i")),
    )
    assert set() == empty.found()
    empty.tell(updated("konto", "1", iban=(redact("iban", "x", KEY), "i")))
    report = empty.report()
    assert [("contradiction", "account", "1", "iban")] == list(map(named, report.differences))
    assert {"$redacted": True} == report.differences[0].recorded == report.differences[0].live


def test_each_fingerprint_is_compared_under_its_own_key(empty: State) -> None:
    """After the key has changed, fingerprints of either are checked with both keys."""
    empty.run("INSERT INTO account VALUES (1, 'p', NULL, NULL, 0), (2, 'q', NULL, NULL, 0)")
    old, old_q = (redact("password", value, OTHER_KEY) for value in "oq")
    empty.tell(created("konto", "1", id=1, password=old), key=OTHER_KEY)
    empty.tell(created("konto", "2", id=2, password=old_q), key=OTHER_KEY)
    change = (redact("password", "o", KEY), redact("password", "p", KEY))
    empty.tell(updated("konto", "1", password=change))
    both = (KEY, OTHER_KEY)
    assert empty.report(both).ok
    empty.run("UPDATE account SET password = 'x'")
    first, second = (
        ("fingerprint", "account", "1", "password"),
        ("fingerprint", "account", "2", "password"),
    )
    assert [{first, second}, {first}, {second}] == [
        empty.found(keys) for keys in (both, KEY, OTHER_KEY)
    ]


def test_invalid_event_is_named(empty: State) -> None:
    """A body that is not JSON, or lacks its members, does not stop the check."""
    empty.tell(created("person", "1", id=1), deleted("person", "1", id=1))
    columns = "event_id, occurred_at, actor_type, action, outcome, tx_id, body"
    for number, body in enumerate(["x", "[]", "{}", '{"action":"person.create","changes":[1]}']):
        empty.run(
            f"INSERT INTO audit_event ({columns}) VALUES (:id, '2026-01-01 00:00:00.000000', 'x', "  # noqa: S608 (no input)
            "'x', 'x', 'x', :body)",
            id=uuid7(number, bytes(10)),
            body=body,
        )
    report = empty.report()
    assert {("unreadable", "audit_event", str(n), None) for n in (3, 4, 5, 6)} == empty.found()
    assert not report.ok


def test_nothing_to_compare_is_not_success(empty: State) -> None:
    """Neither an empty trail nor one that speaks of other things has proven anything."""
    assert not empty.report().ok
    empty.tell(created("ghost", "1", id=1))
    assert not empty.report().ok


def test_models_that_were_not_imported_are_not_success(empty: State) -> None:
    """Metadata without an audited model cannot be compared with anything."""
    with (
        empty.snapshot() as connection,
        pytest.raises(AuditConfigError, match="import the modules"),
    ):
        check_state(connection, _tables_only(), MetaData())


def _tables_only() -> AuditTables:
    return audit_tables(MetaData())


def test_both_sides_are_read_at_one_moment(state: State) -> None:
    """Commits of others during the replay are seen on neither side."""
    committed: list[int] = []

    def meanwhile(rows: int, _total: int) -> None:
        if not committed:
            state.run("INSERT INTO person (id) VALUES (77)")
        committed.append(rows)

    # SQLite's driver by itself begins no transaction for a SELECT.
    plain = State(create_engine(state.engine.url))
    report = plain.report(progress=meanwhile)
    plain.engine.dispose()
    assert committed
    assert [] == report.differences
    assert {("no-history", "person", "77", None)} == state.found()


def test_a_connection_that_sees_several_moments_is_refused(empty: State) -> None:
    """On PostgreSQL READ COMMITTED is refused with a sentence that says what to do."""
    if empty.engine.dialect.name == "postgresql":
        with (
            empty.engine.connect() as connection,
            pytest.raises(AuditConfigError, match="REPEATABLE"),
        ):
            check_state(connection, TABLES, Base.metadata)
    else:
        with empty.engine.connect() as connection:
            check_state(connection, TABLES, Base.metadata)
            assert connection.connection.driver_connection.in_transaction  # type: ignore[union-attr]


def test_progress_counts_rows_of_the_trail(empty: State) -> None:
    """After every thousand rows, and after the last."""
    empty.tell(*(created("person", str(number), id=number) for number in range(2500)))
    told: list[tuple[int, int]] = []
    empty.report(progress=lambda *step: told.append(step))
    assert [(1000, 2500), (1000, 2500), (500, 2500)] == told


def test_objects_beyond_memory_are_kept_in_a_file() -> None:
    """With room for three objects near and almost no cache, the store is a dictionary still."""
    chance = random.Random(7)  # noqa: S311 (no secret)
    expected: dict[tuple[str, str], dict[str, Any]] = {}
    with ObjectStore(kept=3, cache_kib=16) as store:
        for step in range(5000):
            place = (chance.choice("ab"), str(chance.randrange(400)))
            assert expected.get(place) == store.get(*place)
            if chance.random() < 0.7:
                expected[place] = {"step": step, "text": "x" * chance.randrange(2000)}
                store.put(*place, expected[place])
            else:
                assert expected.pop(place, None) == store.pop(*place)
        assert sorted(expected) == [(type_, key) for type_, key, _ in store.remaining()]
        assert expected == {(type_, key): fields for type_, key, fields in store.remaining()}


def test_full_disk_names_the_setting() -> None:
    """If the temporary file cannot grow, the error names the setting that moves it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ObjectStore(kept=1, cache_kib=16) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(AuditConfigError, match="SQLITE_TMPDIR"):
                for number in range(1000):
                    store.put("a", str(number), {"text": "x" * 1000})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


FIELD = Difference(kind="field", table="t", key="1", field="f", recorded="a", live=None)
NOTICE = Difference(kind="unknown-type", table="ghost", recorded="2 events")
OLD = Difference(kind="no-history", table="t", key="2")


@pytest.mark.parametrize(
    ("events", "differences", "expected"),
    [
        (2, [], ["3 objects compared with 2 events: no difference", GOOD]),
        (
            2,
            [NOTICE],
            [
                "unknown-type  ghost  2 events",
                "3 objects compared with 2 events: 1 unknown-type",
                GOOD,
            ],
        ),
        (
            2,
            [FIELD, OLD],
            [
                "field  t 1 f  recorded 'a', live None",
                "no-history  t 2",
                "3 objects compared with 2 events: 1 field, 1 no-history",
                "no-history, no-create: rows that are older than the trail or bypassed it",
                "the tables do NOT match the trail",
            ],
        ),
        (
            0,
            [],
            [
                "3 objects compared with 0 events: no difference",
                "the tables were not compared: the trail has no changes",
            ],
        ),
    ],
    ids=["none", "notice", "differences", "nothing"],
)
def test_report_lists_each_difference(
    events: int, differences: list[Difference], expected: list[str]
) -> None:
    """A line for each difference, the counts, and a sentence at the end."""
    assert expected == [*of_state(StateReport(events=events, objects=3, differences=differences))]


def test_many_differences_are_cut_for_people_and_whole_in_json() -> None:
    """People see twenty; programs see all, beside what `verify` found."""
    report = StateReport(events=1, objects=0, differences=[FIELD] * 25)
    assert "… and 5 more" in of_state(report)
    whole = with_state({"ok": True, "rows": 1}, report)
    assert (False, 1, 25) == (whole["ok"], whole["rows"], len(whole["state"]["differences"]))
    assert {"ok": True, "rows": 1} == with_state({"ok": True, "rows": 1}, None)
