"""Parties, products and orders."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, Enum, ForeignKey, Numeric, String, Table
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from apps.office.types import Encrypted


class Base(DeclarativeBase):
    """The application's models, all of them audited."""

    __audit__ = True


class State(enum.Enum):
    """What has become of an order."""

    DRAFT = "draft"
    PLACED = "placed"
    SHIPPED = "shipped"


product_category = Table(
    "product_category",
    Base.metadata,
    Column("product_id", ForeignKey("product.id"), primary_key=True),
    Column("category_id", ForeignKey("category.id"), primary_key=True),
)


class Party(Base):
    """Somebody, in a table of which two others have more columns."""

    __tablename__ = "party"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(80))
    notes: Mapped[str | None] = mapped_column(Encrypted(400))
    changed: Mapped[datetime | None] = mapped_column(
        onupdate=lambda: datetime.now(UTC).replace(tzinfo=None)
    )

    __mapper_args__: dict[str, Any] = {  # noqa: RUF012 (as SQLAlchemy has it)
        "polymorphic_on": "kind",
        "polymorphic_identity": "party",
    }


class Customer(Party):
    """Somebody who buys, up to a limit."""

    __tablename__ = "customer"

    id: Mapped[int] = mapped_column(ForeignKey("party.id"), primary_key=True)
    credit: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal(100))
    orders: Mapped[list[Order]] = relationship(back_populates="customer")

    __mapper_args__ = {"polymorphic_identity": "customer"}  # noqa: RUF012


class Employee(Party):
    """Somebody who works here, perhaps for somebody else who does."""

    __tablename__ = "employee"

    id: Mapped[int] = mapped_column(ForeignKey("party.id"), primary_key=True)
    salary: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("employee.id"))
    reports: Mapped[list[Employee]] = relationship(
        foreign_keys=boss_id, remote_side=lambda: [Employee.boss_id]
    )

    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_identity": "employee",
        "inherit_condition": id == Party.id,
    }


class Category(Base):
    """A plain link leads to its products."""

    __tablename__ = "category"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)


class Product(Base):
    """Something on the price list."""

    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(20), unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    stock: Mapped[int] = mapped_column(default=0)
    categories: Mapped[set[Category]] = relationship(secondary=product_category)


class Order(Base):
    """An order; its lines are association objects."""

    __tablename__ = "order"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    state: Mapped[State] = mapped_column(Enum(State), default=State.DRAFT)
    total: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal(0))
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[Line]] = relationship(back_populates="order", cascade="all, delete-orphan")
    products: AssociationProxy[list[Product]] = association_proxy("lines", "product")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Line(Base):
    """How many of a product an order has, and at which price."""

    __tablename__ = "order_line"

    order_id: Mapped[int] = mapped_column(ForeignKey("order.id"), primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    quantity: Mapped[int]
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship(lazy="joined")
