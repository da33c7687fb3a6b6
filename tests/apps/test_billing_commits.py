"""The application without a framework, with real commits: threads, tasks, processes."""

from __future__ import annotations

import asyncio
import getpass
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from apps.billing.database import open_async_engine, open_engine
from apps.billing.job import Billing
from apps.billing.models import Base, Customer, Invoice
from apps.billing.payments import Payments
from auditspan import Actor, audit_context
from auditspan.testing import CapturedEvents, captured, captured_async
from support.replay import Kind, assert_replays

TESTS = Path(__file__).parents[1]
CLERK = Actor.user(3, label="lee")
KINDS = {
    "customer": Kind(
        table=Base.metadata.tables["customer"], hidden=frozenset({"iban", "billed_at"})
    ),
    "invoice": Kind(table=Base.metadata.tables["invoice"]),
}


def replay(billing: Billing) -> None:
    """The trail, replayed, is what the tables hold."""
    event = billing.trail.tables.event
    with billing.engine.connect() as connection:
        bodies = list(connection.scalars(select(event.c.body).order_by(event.c.id)))
        assert_replays(connection, bodies, KINDS)


@pytest.fixture
def own(url: str) -> Iterator[Billing]:
    """The application on a database of its own, where tests commit; it replays in the end."""
    made = Billing(open_engine(url))
    made.create_tables()
    yield made
    replay(made)
    made.engine.dispose()


def test_many_threads_bill_at_once(own: Billing) -> None:
    """Each customer is billed once, by the job; the trail replays to the tables."""
    with audit_context(actor=CLERK), captured(own.trail, own.engine) as added:
        for number in range(40):
            own.add_customer(f"c{number}", Decimal(number), iban=None if number % 8 else "x")
    with captured(own.trail, own.engine) as events:
        assert 5 == own.bill_all("2026-02", threads=8)
    assert 40 == len(added)
    assert {"system/nightly-billing"} == {event.by for event in events}
    assert {"bill 2026-02", "no account"} == {event["reason"] for event in events}
    assert (5, 35) == (len(events.of("invoice.create")), len(events.of("customer.skipped")))
    assert 40 == len({event["tx_id"] for event in events})


async def book(url: str, by_clerk: dict[int, list[int]]) -> tuple[list[bool], CapturedEvents]:
    """What the clerks got through, and their events."""
    payments = Payments(open_async_engine(url))
    async with captured_async(payments.trail, payments.engine) as events:
        done = await payments.book_all(by_clerk)
    await payments.engine.dispose()
    return done, events


def test_clerks_book_at_the_same_time(own: Billing, url: str) -> None:
    """Each event names the clerk of its task; a clerk who meets a paid invoice leaves nothing."""
    with audit_context(actor=CLERK):
        for number in range(9):
            own.add_customer(f"c{number}", Decimal(number), iban="x")
    own.bill_all("2026-02", threads=1)
    with own.sessions() as session:
        ids = list(session.scalars(select(Invoice.id).order_by(Invoice.id)))
    done, events = asyncio.run(book(url, {1: ids[:3], 2: ids[3:6], 4: ids[6:]}))
    assert [True, True, True] == done
    expected = {f"invoice/{one}": f"user/{(1, 2, 4)[n // 3]}" for n, one in enumerate(ids)}
    assert expected == {event.about: event.by for event in events}
    done, events = asyncio.run(book(url, {1: ids[:3], 2: ids[3:6]}))
    assert [False, False] == done
    assert [] == events


def run(*arguments: str) -> str:
    """What a Python program prints; a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def test_the_command_line(url: str) -> None:
    """The program does its work, and the trail knows the person at the terminal from the job."""
    run("-m", "apps.billing", url, "init")
    run("-m", "apps.billing", url, "add", "kim", "9.50", "DE02120300000000202051")
    assert "1\n" == run("-m", "apps.billing", url, "bill", "2026-02")
    billing = Billing(open_engine(url))
    event = billing.trail.tables.event
    with billing.engine.connect() as connection:
        rows = connection.execute(select(event.c.action, event.c.actor_id).order_by(event.c.id))
        expected = [("customer.create", getpass.getuser()), ("invoice.create", "nightly-billing")]
        assert expected == [tuple(row) for row in rows]
        assert 1 == connection.scalar(select(func.count()).select_from(Customer))
    replay(billing)
    billing.engine.dispose()


def loaded(*modules: str) -> set[str]:
    """The top-level packages in memory after importing these."""
    names = "; ".join(f"import {module}" for module in modules)
    printed = run("-c", f"import sys; {names}; print(*sys.modules)")
    return {name.partition(".")[0] for name in printed.split()}


def test_nothing_imports_flask_or_pytest() -> None:
    """Neither the library nor what is for tests needs a web framework or a test runner."""
    found = loaded("auditspan", "auditspan.testing", "apps.billing.__main__")
    assert {"auditspan", "sqlalchemy"} <= found
    assert set() == found & {"flask", "werkzeug", "jinja2", "click", "pytest", "_pytest"}
