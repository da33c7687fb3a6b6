"""`baseline`: rows that are older than the trail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    MetaData,
    String,
    Table,
    func,
    insert,
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
    sessionmaker,
)

from auditspan import (
    AuditConfigError,
    AuditTrail,
    MissingActorError,
    Policy,
    Redacted,
    audit_context,
)
from auditspan.seal import Undrained
from auditspan.verify import StateReport, check_state
from integration.library.shapes import Engineer, Worker
from integration.library.world import KEY, KIM, make_world

ROWS = 25
"""Old rows of each kind."""


class Shop:
    """Models of an application that adopts the library late, and its database."""

    def __init__(self, engine: Engine) -> None:
        class Base(DeclarativeBase):
            metadata = MetaData()

        order_label = Table(
            "order_label",
            Base.metadata,
            Column("order_id", ForeignKey("orders.id"), primary_key=True),
            Column("label_id", ForeignKey("label.id"), primary_key=True),
        )

        class Order(Base):
            __tablename__ = "orders"
            __audit__ = Policy(redact={"iban"}, exclude={"notes"})
            id: Mapped[int] = mapped_column(primary_key=True)
            total: Mapped[int]
            iban: Mapped[str | None]
            notes: Mapped[str | None]
            text: Mapped[str | None]
            version: Mapped[int] = mapped_column()
            labels: Mapped[list[Any]] = relationship("Label", secondary=order_label)
            __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

        class Label(Base):
            __tablename__ = "label"
            __audit__ = True
            id: Mapped[int] = mapped_column(primary_key=True)

        class Client(Base):
            __tablename__ = "client"
            __audit__ = True
            region: Mapped[str] = mapped_column(String(5), primary_key=True)
            number: Mapped[int] = mapped_column(primary_key=True)
            kind: Mapped[str]
            __mapper_args__: dict[str, Any] = {  # noqa: RUF012
                "polymorphic_on": "kind",
                "polymorphic_identity": "client",
            }

        class Firm(Client):
            __mapper_args__ = {"polymorphic_identity": "firm"}  # noqa: RUF012

        self.Base, self.Order, self.Label, self.Client, self.Firm = Base, Order, Label, Client, Firm
        self.links, self.engine = order_label, engine
        Base.metadata.create_all(engine)
        with Session(engine) as session, session.begin():
            self._fill(session)
        self.sessions = sessionmaker(engine)
        self.trail = AuditTrail(self.sessions, metadata=Base.metadata, mac_key=KEY)
        Base.metadata.create_all(engine)

    def _fill(self, session: Session) -> None:
        labels = [self.Label(id=number) for number in range(1, ROWS + 1)]
        session.add_all(labels)
        for number in range(1, ROWS + 1):
            order = self.Order(
                id=number, total=number, iban=f"DE{number}", notes="n", text="x" * 20_000
            )
            order.labels = labels[: number % 4]
            kind = self.Firm if number % 2 else self.Client
            session.add_all([order, kind(region=f"r{number % 3}", number=number)])

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction of the application."""
        with audit_context(actor=KIM), self.sessions.begin() as session:
            yield session

    def baseline(self, *models: object, **options: Any) -> int:
        """Record the old rows."""
        with audit_context(actor=KIM, reason="adoption"), self.sessions() as session:
            return self.trail.baseline(session, *models, **options)

    def report(self) -> StateReport:
        """The state check."""
        is_postgresql = self.engine.dialect.name == "postgresql"
        level = "REPEATABLE READ" if is_postgresql else "SERIALIZABLE"
        with self.engine.connect().execution_options(isolation_level=level) as connection:
            return check_state(connection, self.trail.tables, self.Base.metadata, mac_key=KEY)

    def count(self, action: str) -> int:
        """The number of events with this action."""
        event = self.trail.tables.event
        with self.engine.connect() as connection:
            counted = select(func.count()).where(event.c.action.like(action))
            return connection.execute(counted).scalar_one()


LINKED = sum(1 for number in range(1, ROWS + 1) if number % 4)
"""Orders with labels."""


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """An application with rows that are older than its trail."""
    return Shop(engine)


def test_old_rows_are_recorded_with_their_values(shop: Shop) -> None:
    """The state check, history and as_of hold: inheritance, links, secrets, long texts."""
    assert {"no-history"} == {one.kind for one in shop.report().differences}
    before = datetime.now(UTC)
    assert 3 * ROWS + LINKED == shop.baseline()
    report = shop.report()
    assert ([], 3 * ROWS) == (report.differences, report.objects)
    with shop.sessions() as session:
        (event, links) = shop.trail.history(session, shop.Order, 2)
        assert ("order.baseline", "success", "adoption") == (
            event.action,
            event.outcome,
            event.reason,
        )
        assert ({"baseline": True}, KIM, 1) == (
            event.metadata,
            event.actor,
            event.target and event.target.version,
        )
        assert {"labels": {"added": ["1", "2"]}} == links.changes
        assert shop.trail.as_of(session, shop.Order, 2, before) is None
        found = shop.trail.as_of(session, shop.Order, 2, datetime.now(UTC))
        assert found is not None
        assert (2, ("1", "2"), True) == (found["total"], found.links["labels"], found.is_complete)
        assert isinstance(found["iban"], Redacted)
        assert "notes" not in found.values
        firm = shop.trail.as_of(session, shop.Client, ("r1", 1), datetime.now(UTC))
        assert firm is not None
        assert "firm" == firm.type


def test_a_second_baseline_records_nothing(shop: Shop) -> None:
    """Nor does one after changes, creations and deletions."""
    shop.baseline()
    with shop.writing() as session:
        session.get_one(shop.Order, 1).total = 100
        session.add(shop.Label(id=99))
        session.get_one(shop.Order, 2).labels = []
        session.delete(session.get_one(shop.Order, 4))
    assert 0 == shop.baseline()
    assert [] == shop.report().differences


def test_a_baseline_may_concern_some_models(shop: Shop) -> None:
    """With their subclasses and links, and no others."""
    assert ROWS == shop.baseline(shop.Client)
    assert ROWS + LINKED == shop.baseline(shop.Order)
    assert 0 == shop.count("label.%")
    with pytest.raises(AuditConfigError, match="not an audited model"):
        shop.baseline(Shop)


class Interruption(Exception):  # noqa: N818 (what happens to a process)
    """The process ends."""


def test_an_interrupted_baseline_resumes(shop: Shop) -> None:
    """Batches that were committed are not recorded twice; the progress adds up to all rows."""

    def interrupt(_read: int, _total: int) -> None:
        raise Interruption

    with pytest.raises(Interruption):
        shop.baseline(batch=10, progress=interrupt)
    assert 10 == shop.count("%.baseline")
    seen: list[tuple[int, int]] = []
    assert 3 * ROWS + LINKED - 10 == shop.baseline(progress=lambda *one: seen.append(one))
    assert 3 * ROWS + LINKED == shop.count("%.baseline")
    assert {sum(read for read, _ in seen)} == {total for _, total in seen}
    assert [] == shop.report().differences


def test_rows_that_changed_before_their_baseline_are_completed(shop: Shop) -> None:
    """Their histories begin with a change, and then everything about them is known."""
    with shop.writing() as session:
        for number in range(1, 6):
            session.get_one(shop.Order, number).total = 0
        session.get_one(shop.Order, 2).labels = []
        session.delete(session.get_one(shop.Order, 8))
    assert "no-create" in shop.report().counts()
    shop.baseline()
    # What was removed before the baseline began outside of the trail.
    assert {("no-create", "8"), ("no-create", "2")} == {
        (one.kind, one.key) for one in shop.report().differences
    }


def test_a_missing_actor_refuses_the_baseline(shop: Shop) -> None:
    """As any change."""
    with shop.sessions() as session, pytest.raises(MissingActorError):
        shop.trail.baseline(session)


def test_a_baseline_does_not_commit_the_work_of_others(shop: Shop) -> None:
    """A session in a transaction is refused."""
    with shop.writing() as session:
        session.add(shop.Label(id=99))
        session.flush()
        with pytest.raises(AuditConfigError, match="commits after each batch"):
            shop.trail.baseline(session)


def test_writers_beside_a_baseline_leave_a_true_trail(shop: Shop) -> None:
    """A row that changes meanwhile gets no wrong first value."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with suppress(Exception), shop.writing() as session:
                session.execute(
                    update(shop.Order)
                    .where(shop.Order.id == number % ROWS + 1)
                    .values(total=number + 1000)
                )
                if number % 3 == 0:
                    session.add(shop.Label(id=number + 1000))

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        shop.baseline(batch=3)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert [] == shop.report().differences
    assert shop.count("order.update") > 0


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_an_open_change_is_waited_for(shop: Shop) -> None:
    """The baseline has the value that was committed in the meantime, and comes after the change."""
    done: list[int] = []
    baseline = threading.Thread(target=lambda: done.append(shop.baseline(shop.Label, shop.Order)))
    with shop.writing() as session:
        session.get_one(shop.Order, 1).total = 555
        session.flush()
        baseline.start()
        wait_for_a_lock(shop)
    baseline.join()
    assert [2 * ROWS + LINKED] == done
    with shop.sessions() as session:
        changed, first, *_ = shop.trail.history(session, shop.Order, 1)
    assert (555, 555) == (changed.new["total"], first.new["total"])
    assert {"order.update", "order.baseline"} == {changed.action, first.action}


def wait_for_a_lock(shop: Shop) -> None:
    """Wait until a session of the database waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with shop.engine.connect() as connection:
        while not connection.scalar(waiting):
            connection.rollback()
            time.sleep(0.01)


def test_changes_that_are_recorded_late_fit(shop: Shop) -> None:
    """Writes of other programs before the baseline precede it, and agree with it."""
    raw = shop.engine.raw_connection()
    cursor = raw.cursor()
    cursor.execute("UPDATE orders SET total = 777 WHERE id = 1")
    cursor.execute("INSERT INTO label (id) VALUES (88)")
    raw.commit()
    raw.close()
    shop.baseline()
    Undrained(shop.engine, shop.trail.tables, mac_key=KEY).take()
    assert [] == shop.report().differences
    with shop.sessions() as session:
        actions = [event.action for event in shop.trail.history(session, shop.Order, 1)]
    assert ["order.update", "order.baseline", "order.baseline"] == actions


def test_rows_of_an_unaudited_import_are_recorded(shop: Shop) -> None:
    """They were only counted; each is read once, in the order of the keys, over many batches."""
    rows = 1200
    with shop.writing() as session, shop.trail.unaudited(reason="import"):
        session.execute(insert(shop.Label), [{"id": 1000 + n} for n in range(rows)])
    assert ROWS + rows == shop.baseline(shop.Label, batch=100)


def test_an_object_in_several_tables_is_recorded_as_one(engine: Engine) -> None:
    """Joined inheritance: one event, of its class, with the columns of both tables."""
    world = make_world(engine)
    with world.trail.unaudited(reason="import"), world.unit_of_work() as session:
        session.add_all([Engineer(id=1, name="kim", field="tunnels"), Worker(id=2, name="lee")])
    with world.request(), world.sessions() as session:
        assert 2 == world.trail.baseline(session, Worker)
    with world.sessions() as session:
        found = [world.trail.as_of(session, Worker, key, datetime.now(UTC)) for key in (1, 2)]
    assert [
        ("engineer", {"id": 1, "kind": "engineer", "name": "kim", "field": "tunnels"}),
        ("worker", {"id": 2, "kind": "worker", "name": "lee"}),
    ] == [(one.type, dict(one.values)) for one in found if one is not None]
