"""The application without a framework: its own tests, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from apps.billing.database import open_engine
from apps.billing.job import Billing
from apps.billing.models import Base, Invoice
from auditspan import Actor, AuditTrail, MissingActorError, Service, audit_context
from auditspan.testing import CapturedEvents, FixedClock, SequentialIds, rolled_back
from support.postgres import empty_database

pytest_plugins = ["auditspan.testing"]

CLERK = Actor.user(3, label="lee")
IDS = SequentialIds()
CLOCK = FixedClock(datetime(2026, 2, 1, tzinfo=UTC))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('billing') / 'billing.db'}"
    else:
        with empty_database() as made:
            yield made


@pytest.fixture(scope="module")
def billing(shared_url: str) -> Iterator[Billing]:
    """The application, with tables and nothing in them."""
    made = Billing(
        open_engine(shared_url), service=Service(name="billing"), clock=CLOCK, new_id=IDS
    )
    made.create_tables()
    yield made
    made.engine.dispose()


@pytest.fixture
def connection(billing: Billing) -> Iterator[Connection]:
    """Rollback-per-test: what a test commits is gone when it ends."""
    with rolled_back(billing.engine, billing.sessions) as made:
        yield made
    with billing.engine.connect() as other:
        for table in Base.metadata.tables.values():
            assert 0 == other.scalar(select(func.count()).select_from(table))


@pytest.fixture
def audit_trail(billing: Billing) -> AuditTrail:
    return billing.trail


@pytest.fixture
def audit_bind(connection: Connection) -> Connection:
    IDS.restart()
    return connection


def test_a_customer_is_added_and_billed(billing: Billing, audit_events: CapturedEvents) -> None:
    """Each act has its event, by who did it; a secret is not in it."""
    with audit_context(actor=CLERK):
        customer = billing.add_customer("kim", Decimal("9.50"), iban="DE02120300000000202051")
    assert 1 == billing.bill_all("2026-02", threads=1)
    assert ["customer.create", "invoice.create"] == audit_events.actions
    added = audit_events.one(by="user/3")
    assert "kim" == added.new["name"]
    assert {"$redacted": True} == added.new["iban"]
    billed = audit_events.one("invoice.create", by="system/nightly-billing")
    assert {
        "id": billed["target"]["id"],
        "customer_id": customer,
        "month": "2026-02",
        "total": "9.5",
        "paid": False,
    } == billed.new | {"id": str(billed.new["id"])}
    assert ("bill 2026-02", {"month": "2026-02"}) == (billed["reason"], billed["metadata"])


def test_an_event_is_the_same_in_every_run(billing: Billing, audit_events: CapturedEvents) -> None:
    """With fixed ids and a fixed clock the whole event can be compared."""
    with audit_context(actor=CLERK):
        customer = billing.add_customer("kim", Decimal(1))
    assert [
        {
            "v": 1,
            "event_id": SequentialIds.id(2),
            "occurred_at": "2026-02-01T00:00:00.000000Z",
            "action": "customer.create",
            "outcome": "success",
            "reason": None,
            "actor": {"type": "user", "id": "3", "label": "lee"},
            "on_behalf_of": None,
            "target": {"type": "customer", "id": str(customer), "version": None},
            "changes": {
                "id": {"new": customer},
                "name": {"new": "kim"},
                "iban": {"new": None},
                "fee": {"new": "1"},
                "billed_at": {"new": None},
            },
            "request": None,
            "trace_id": None,
            "span_id": None,
            "tx_id": SequentialIds.id(1),
            "change_id": audit_events[0]["change_id"],
            "tenant": None,
            "service": {"name": "billing", "version": None, "instance": None},
            "metadata": {},
            "seq": None,
            "recorded_at": audit_events[0]["recorded_at"],
            "delivered": False,
        }
    ] == audit_events


def test_subscriber_without_an_account_is_skipped(
    billing: Billing, audit_events: CapturedEvents
) -> None:
    """The invoice is rolled back without a trace, and the trail says why."""
    with audit_context(actor=CLERK):
        billing.add_customer("poor", Decimal(5))
    assert 0 == billing.bill_all("2026-02", threads=1)
    assert ["customer.create", "customer.skipped"] == audit_events.actions
    skipped = audit_events.one("customer.skipped")
    assert ("failure", "no account") == (skipped["outcome"], skipped["reason"])


def test_second_bill_is_refused(billing: Billing, audit_events: CapturedEvents) -> None:
    """What the database refuses leaves no event, and the work before it keeps its own."""
    with audit_context(actor=CLERK):
        customer = billing.add_customer("kim", Decimal(5), iban="x")
        assert billing.bill(customer, "2026-02")
        with pytest.raises(IntegrityError):
            billing.bill(customer, "2026-02")
    assert ["customer.create", "invoice.create"] == audit_events.actions


def test_change_without_an_actor_is_refused(billing: Billing, audit_events: CapturedEvents) -> None:
    """Without a context nothing is written."""
    with pytest.raises(MissingActorError):
        billing.add_customer("kim", Decimal(5))
    assert [] == audit_events


def test_the_life_of_an_invoice(billing: Billing, audit_events: CapturedEvents) -> None:
    """Its history is its events: made, paid, taken back."""
    with audit_context(actor=CLERK):
        customer = billing.add_customer("kim", Decimal(5), iban="x")
        billing.bill(customer, "2026-02")
        with billing.sessions.begin() as session:
            invoice = session.scalars(select(Invoice)).one()
            invoice.pay()
            number = invoice.id
        billing.cancel(number)
    history = audit_events.of(about=f"invoice/{number}")
    assert ["invoice.create", "invoice.update", "invoice.delete"] == [e.action for e in history]
    assert ({"paid": False}, {"paid": True}) == (history[1].old, history[1].new)
    assert ({}, True) == (history[2].new, history[2].old["paid"])


def test_a_statement_has_an_event_for_every_row(
    billing: Billing, audit_events: CapturedEvents
) -> None:
    """What one UPDATE changed is in the trail row by row, with true values."""
    with audit_context(actor=CLERK):
        ids = [billing.add_customer(name, Decimal(fee)) for name, fee in (("kim", 1), ("lee", 2))]
        assert 2 == billing.raise_fees(Decimal(5))
    raised = audit_events.of("customer.update", by="user/3")
    assert {f"customer/{ids[0]}": ("1", "6"), f"customer/{ids[1]}": ("2", "7")} == {
        event.about: (event.old["fee"], event.new["fee"]) for event in raised
    }
