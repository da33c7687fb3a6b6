"""Customers and their tags."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditspan import Policy


class Base(DeclarativeBase):
    """The models of the shop."""


tagged = Table(
    "tagged",
    Base.metadata,
    Column("customer_id", ForeignKey("customer.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)


class Tag(Base):
    """A word for customers."""

    __tablename__ = "tag"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str]


class Customer(Base):
    """A customer; the number of the account is secret."""

    __tablename__ = "customer"
    __audit__ = Policy(redact={"iban"})

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]
    iban: Mapped[str | None]
    notes: Mapped[str | None]
    tags: Mapped[list[Tag]] = relationship(secondary=tagged)
