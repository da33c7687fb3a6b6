"""Objects with rows in several tables: which class names the record of a row.

A class that is mapped on a join decides nothing about tables that have a class of their own. Where
no column tells the class of an object, the tables in which it has rows do.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Table, delete, insert, join, update
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

from auditspan import AuditConfigError
from auditspan.testing import SteppingClock
from integration.capture.application import Application, make_application


def make_models(*, is_audited: bool, has_classes: bool = True) -> tuple[Any, Any, Any]:
    """A class on each of two tables, and one on their join whose name sorts first.

    Args:
        is_audited: the class on the join is.
        has_classes: the classes on the tables are audited.
    """

    class Base(DeclarativeBase):
        pass

    labelled = Table(
        "labelled",
        Base.metadata,
        Column("invoice", ForeignKey("invoice.id"), primary_key=True),
        Column("label", ForeignKey("label.id"), primary_key=True),
    )

    class Label(Base):
        __tablename__ = "label"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class Invoice(Base):
        __tablename__ = "invoice"
        __audit__ = has_classes
        id: Mapped[int] = mapped_column(primary_key=True)
        total: Mapped[int]
        labels: Mapped[list[Label]] = relationship(secondary=labelled)

    class Payment(Base):
        __tablename__ = "payment"
        __audit__ = has_classes
        id: Mapped[int] = mapped_column(primary_key=True)
        invoice_id: Mapped[int] = mapped_column(ForeignKey("invoice.id"))
        paid: Mapped[int]

    invoice: Any = Invoice.__table__
    payment: Any = Payment.__table__

    class Aaa(Base):
        __table__ = join(invoice, payment)
        __audit__ = is_audited
        id = column_property(invoice.c.id, payment.c.invoice_id)
        payment_id = payment.c.id
        labels = relationship(Label, secondary=labelled, overlaps="labels")

    return Invoice, Payment, Aaa


def told(application: Application) -> list[tuple[str, str | None]]:
    """The action and the target id of each event."""
    return [one[:2] for one in application.told()]


@pytest.fixture(params=[True, False], ids=["audited", "not audited"])
def models(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    """The class on the join is audited, or is not."""
    return make_models(is_audited=request.param)


def test_rows_are_recorded_as_the_class_of_their_table(
    engine: Engine, models: tuple[Any, Any, Any]
) -> None:
    """Objects and statements of the classes on one table each."""
    invoice, payment, _ = models
    application = make_application(engine, invoice.metadata)
    with application.unit_of_work() as session:
        session.add(invoice(id=1, total=10))
        session.flush()
        session.add(payment(id=5, invoice_id=1, paid=10))
    with application.unit_of_work() as session:
        session.execute(update(payment).values(paid=9))
        session.execute(insert(invoice).values(id=2, total=3))
        session.execute(delete(payment))
        session.execute(insert(payment).values(id=6, invoice_id=2, paid=3))
    assert [
        ("invoice.create", "1"),
        ("payment.create", "5"),
        ("payment.update", "5"),
        ("invoice.create", "2"),
        ("payment.delete", "5"),
        ("payment.create", "6"),
    ] == told(application)
    application.check()


def test_an_object_of_a_join_is_recorded_as_the_rows_that_it_writes(
    engine: Engine, models: tuple[Any, Any, Any]
) -> None:
    """Created, changed and deleted through the class on the join."""
    invoice, _, joined = models
    application = make_application(engine, invoice.metadata)
    with application.unit_of_work() as session:
        session.add(joined(id=1, payment_id=5, total=10, paid=10))
    with application.unit_of_work() as session:
        session.get_one(joined, (1, 5)).total = 11
    with application.unit_of_work() as session:
        session.delete(session.get_one(joined, (1, 5)))
    assert [
        ("invoice.create", "1"),
        ("payment.create", "5"),
        ("invoice.update", "1"),
        ("payment.delete", "5"),
        ("invoice.delete", "1"),
    ] == told(application)
    application.check()


def test_links_are_recorded_at_the_class_of_their_table(
    engine: Engine, models: tuple[Any, Any, Any]
) -> None:
    """Where the class on the join has the same relationship."""
    invoice, _, _ = models
    label = invoice.labels.property.entity.class_
    application = make_application(engine, invoice.metadata)
    with application.unit_of_work() as session:
        session.add_all([invoice(id=1, total=10), label(id=7)])
    with application.unit_of_work() as session:
        found = session.get_one(invoice, 1)
        found.labels.append(session.get_one(label, 7))
    assert ("invoice.update", "1", {"labels": {"added": ["7"]}}) == application.told()[-1]
    assert 3 == len(application.told())
    application.check()


def test_tables_that_only_a_class_on_a_join_audits_are_refused(engine: Engine) -> None:
    """The rows of the join are no records of their own, and the error says what to do."""
    invoice, _, _ = make_models(is_audited=True, has_classes=False)
    with pytest.raises(AuditConfigError, match="Aaa is audited and mapped on a join"):
        make_application(engine, invoice.metadata)
    invoice.registry.dispose()


def make_devices() -> tuple[Any, Any]:
    """Joined inheritance of classes that are not audited, over tables that are."""

    class Base(DeclarativeBase):
        pass

    class Device(Base):
        __tablename__ = "device"
        __table_args__ = {"info": {"audit": True}}  # noqa: RUF012 (as SQLAlchemy documents it)
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind"}  # noqa: RUF012

    class Phone(Device):
        __tablename__ = "phone"
        __table_args__ = {"info": {"audit": True}}  # noqa: RUF012
        id: Mapped[int] = mapped_column(ForeignKey("device.id"), primary_key=True)
        number: Mapped[str]
        __mapper_args__ = {"polymorphic_identity": "phone"}  # noqa: RUF012

    return Device, Phone


def test_tables_audited_by_themselves_are_recorded_apart_from_their_classes(engine: Engine) -> None:
    """The classes share objects by joined inheritance, but only the tables are audited."""
    device, phone = make_devices()
    application = make_application(engine, device.metadata)
    with application.unit_of_work() as session:
        session.add(phone(id=1, number="555"))
    with application.unit_of_work() as session:
        session.delete(session.get_one(phone, 1))
    assert [
        ("device.create", "1"),
        ("phone.create", "1"),
        ("phone.delete", "1"),
        ("device.delete", "1"),
    ] == told(application)
    application.check()


def make_vehicles() -> tuple[Any, Any, Any]:
    """Joined inheritance over three tables, without a column that tells the class."""

    class Base(DeclarativeBase):
        pass

    class Vehicle(Base):
        __tablename__ = "vehicle"
        __audit__ = True
        id: Mapped[int] = mapped_column(primary_key=True)
        wheels: Mapped[int] = mapped_column(default=4)

    class Car(Vehicle):
        __tablename__ = "car"
        id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
        doors: Mapped[int] = mapped_column(default=2)

    class Van(Car):
        __tablename__ = "van"
        id: Mapped[int] = mapped_column(ForeignKey("car.id"), primary_key=True)
        load: Mapped[int] = mapped_column(default=7)

    return Vehicle, Car, Van


def test_object_whose_rows_are_seconds_apart_is_recorded_once(engine: Engine) -> None:
    """Each row has the time of its statement, and a flush of many objects takes long."""
    vehicle, car, _ = make_vehicles()
    clock = SteppingClock(step=timedelta(seconds=5))
    application = make_application(engine, vehicle.metadata, clock=clock)
    with application.unit_of_work() as session:
        session.add(car(id=2))
    with application.unit_of_work() as session:
        session.delete(session.get_one(car, 2))
    assert [("car.create", "2"), ("car.delete", "2")] == told(application)
    application.check()


@pytest.mark.parametrize("by", ["objects", "statements"])
def test_rows_without_a_discriminator_are_recorded_as_the_class_of_their_object(
    engine: Engine, by: str
) -> None:
    """Also where only the row in the base table changes."""
    vehicle, car, van = make_vehicles()
    application = make_application(engine, vehicle.metadata)
    with application.unit_of_work() as session:
        session.add_all([vehicle(id=1), car(id=2), van(id=3)])
    before = len(told(application))
    with application.unit_of_work() as session:
        if by == "objects":
            for key, class_ in enumerate((vehicle, car, van), start=1):
                session.get_one(class_, key).wheels = 3
                session.flush()
            session.get_one(van, 3).doors = 5
        else:
            session.execute(update(vehicle.__table__).values(wheels=3))
            session.execute(update(car.__table__).where(car.__table__.c.id == 3).values(doors=5))
    assert ["vehicle.create", "car.create", "van.create"] == [a for a, _ in told(application)[:3]]
    assert [
        ("vehicle.update", "1"),
        ("car.update", "2"),
        ("van.update", "3"),
    ] == told(application)[before:]
    application.check()
    with application.unit_of_work() as session:
        for class_ in (van, car, vehicle):
            session.execute(delete(class_.__table__))
    assert {("vehicle.delete", "1"), ("car.delete", "2"), ("van.delete", "3")} == {
        *told(application)[-3:]
    }
    application.check()
