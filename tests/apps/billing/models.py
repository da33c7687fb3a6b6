"""Customers and their invoices."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import DateTime, ForeignKey, Numeric, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from auditspan import Policy


class NoAccountError(Exception):
    """The customer has no bank account."""


class AlreadyPaidError(Exception):
    """The invoice is paid."""


class Base(DeclarativeBase):
    """The application's models."""


class Customer(Base):
    """Somebody who gets an invoice every month."""

    __tablename__ = "customer"
    __audit__ = Policy(redact={"iban"}, ignore={"billed_at"})

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    iban: Mapped[str | None] = mapped_column(String(34))
    fee: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    billed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    invoices: Mapped[list[Invoice]] = relationship(back_populates="customer")

    def bill(self, month: str) -> Invoice:
        """This month's invoice."""
        self.billed_at = datetime.now(UTC)
        return Invoice(customer=self, month=month, total=self.fee)

    def require_account(self) -> None:
        """Refuse a customer from whom nothing can be collected."""
        if self.iban is None:
            raise NoAccountError


class Invoice(Base):
    """What a customer owes for a month."""

    __tablename__ = "invoice"
    __audit__ = True
    __table_args__ = (UniqueConstraint("customer_id", "month"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    month: Mapped[str] = mapped_column(String(7))
    total: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    paid: Mapped[bool] = mapped_column(default=False)
    customer: Mapped[Customer] = relationship(back_populates="invoices")

    def pay(self) -> None:
        """Book the payment."""
        if self.paid:
            raise AlreadyPaidError
        self.paid = True
