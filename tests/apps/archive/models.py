"""The models as the last revision leaves the schema."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The application's models."""

    __audit__ = True


author = Table(
    "author",
    Base.metadata,
    Column("record_id", ForeignKey("record.id", name="author_record"), primary_key=True),
    Column("person_id", ForeignKey("person.id", name="author_person"), primary_key=True),
)


class Box(Base):
    """A box on a shelf."""

    __tablename__ = "box"
    __table_args__ = (UniqueConstraint("shelf_mark", name="one_shelf_mark"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_mark: Mapped[str] = mapped_column(String(40))
    records: Mapped[int] = mapped_column(server_default="0")


class Person(Base):
    """Somebody who writes or borrows."""

    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    active: Mapped[bool] = mapped_column(server_default=true())
    first_name: Mapped[str | None] = mapped_column(Text)
    last_name: Mapped[str | None] = mapped_column(Text)


class Record(Base):
    """A record in a box."""

    __tablename__ = "record"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(Text, index=True)
    box_id: Mapped[int | None] = mapped_column(ForeignKey("box.id", name="record_box"))
    year: Mapped[int]
    data: Mapped[Any] = mapped_column(JSON, nullable=True)
    authors: Mapped[list[Person]] = relationship(secondary=author)


class Loan(Base):
    """A record that somebody has borrowed."""

    __tablename__ = "loan"

    id: Mapped[int] = mapped_column(primary_key=True)
    record_id: Mapped[int | None] = mapped_column(ForeignKey("record.id", name="lending_record"))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id", name="lending_person"))
    fee: Mapped[Decimal] = mapped_column(Numeric(8, 2), server_default="0")
