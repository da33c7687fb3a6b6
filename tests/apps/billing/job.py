"""The nightly job: an invoice for every customer, several customers at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import sessionmaker

from apps.billing.models import Base, Customer, Invoice, NoAccountError
from auditspan import Actor, AuditTrail, audit_context, carry_context

NIGHTLY = Actor.system("nightly-billing")


class Billing:
    """The use cases on one database; `trail_options` are those of `AuditTrail`."""

    def __init__(self, engine: Engine, **trail_options: Any) -> None:
        self.engine = engine
        self.sessions = sessionmaker(engine)
        self.trail = AuditTrail(self.sessions, metadata=Base.metadata, **trail_options)

    def create_tables(self) -> None:
        """Make the tables, those of the trail included."""
        Base.metadata.create_all(self.engine)

    def add_customer(self, name: str, fee: Decimal, iban: str | None = None) -> int:
        """A new customer."""
        with self.sessions.begin() as session:
            customer = Customer(name=name, fee=fee, iban=iban)
            session.add(customer)
            session.flush()
            return customer.id

    def bill_all(self, month: str, *, threads: int = 4) -> int:
        """Bill every customer in a transaction of its own; how many have been billed."""
        with self.sessions() as session:
            customers = list(session.scalars(select(Customer.id).order_by(Customer.id)))
        with (
            audit_context(actor=NIGHTLY, reason=f"bill {month}", metadata={"month": month}),
            ThreadPoolExecutor(threads) as pool,
        ):
            carried = carry_context()  # a thread starts without the context
            jobs = [pool.submit(carried.run, self.bill, one, month) for one in customers]
            return sum(job.result() for job in jobs)

    def bill(self, customer_id: int, month: str) -> bool:
        """Bill one customer; without an account nothing changes, and the trail says why."""
        try:
            with self.sessions.begin() as session:
                customer = session.get_one(Customer, customer_id)
                session.add(customer.bill(month))
                session.flush()
                customer.require_account()
        except NoAccountError:
            self._skipped(customer_id)
            return False
        return True

    def cancel(self, invoice_id: int) -> None:
        """Take an invoice back."""
        with self.sessions.begin() as session:
            session.delete(session.get_one(Invoice, invoice_id))

    def raise_fees(self, by: Decimal) -> int:
        """Raise everybody's fee in one statement; for how many."""
        with self.sessions.begin() as session:
            raised = session.scalars(
                update(Customer).values(fee=Customer.fee + by).returning(Customer.id)
            )
            return len(raised.all())

    def _skipped(self, customer_id: int) -> None:
        with self.sessions.begin() as session:
            customer = session.get_one(Customer, customer_id)
            self.trail.record(
                session, "customer.skipped", target=customer, outcome="failure", reason="no account"
            )
