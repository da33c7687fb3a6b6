"""The back office does the same with and without a trail, and the trail knows all that it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import Context
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from auditspan import Actor, AuditTrail, MissingActorError, audit_context
from integration.capture.application import KEY
from integration.capture.apps.watching import fresh, under, watched

SECRETS = ["planted-note", "planted-other"]
PRICES = {"apple": "1.10", "pear": "2.05", "plum": "0.99"}


@dataclass(frozen=True, kw_only=True)
class Office:
    """The application: its desk, its package and its trail."""

    desk: Any
    package: Any
    trail: AuditTrail | None


@pytest.fixture
def office(url: str, is_audited: bool, caplog: pytest.LogCaptureFixture) -> Iterator[Office]:  # noqa: FBT001 (a fixture)
    """The application with a price list, and a clerk at its desk."""
    package = fresh("apps.office")
    engine = create_engine(url)
    desk = package.Desk(engine)
    trail = package.audited(desk, mac_key=KEY) if is_audited else None
    desk.create_tables()
    with (
        watched(engine, trail, caplog, secrets=SECRETS),
        audit_context(actor=Actor.user(3, label="clerk")),
    ):
        desk.import_products(PRICES)
        yield Office(desk=desk, package=package, trail=trail)


def test_a_price_list_is_imported(office: Office) -> None:
    """With exact prices."""
    assert {code: Decimal(price) for code, price in PRICES.items()} == office.desk.prices()


def test_categories_are_set(office: Office) -> None:
    """Links come and go with the set."""
    office.desk.categorize("apple", ["fruit", "red"])
    office.desk.categorize("apple", ["fruit", "green"])
    office.desk.categorize("pear", ["green"])
    assert {"fruit", "green"} == office.desk.categories("apple")
    assert {"green"} == office.desk.categories("pear")


def test_categories_are_merged_by_sql(office: Office) -> None:
    """Links are moved, and one that was there already is not doubled."""
    office.desk.categorize("apple", ["fruit", "food"])
    office.desk.categorize("pear", ["fruit"])
    office.desk.merge_categories("fruit", "food")
    assert {"food"} == office.desk.categories("apple") == office.desk.categories("pear")
    office.desk.unlink_all()
    assert set() == office.desk.categories("apple")


def test_salaries_are_raised_together(office: Office) -> None:
    """By a statement on the second table of the class."""
    boss = office.desk.hire("ann", "5000.00")
    office.desk.hire("bob", "3000.10", boss)
    office.desk.hire("cy", None, boss)
    office.desk.raise_salaries("10")
    staff = office.desk.staff()
    rounded = {name: (pay and round(pay, 2), above) for name, (pay, above) in staff.items()}
    assert {
        "ann": (Decimal("5500.00"), None),
        "bob": (Decimal("3300.11"), boss),
        "cy": (None, boss),
    } == rounded


def test_reports_of_a_dismissed_boss_stay(office: Office) -> None:
    """They report to nobody."""
    boss = office.desk.hire("ann", "5000.00")
    office.desk.hire("bob", "3000.10", boss)
    office.desk.dismiss(boss)
    assert {"bob": (Decimal("3000.10"), None)} == office.desk.staff()


def test_notes_are_encrypted(office: Office) -> None:
    """The application reads them; the table does not show them."""
    customer = office.desk.add_customer("kim", notes=SECRETS[0])
    assert SECRETS[0] == office.desk.notes(customer)
    office.desk.note(customer, SECRETS[1])
    assert SECRETS[1] == office.desk.notes(customer)
    with office.desk.engine.connect() as connection:
        assert SECRETS[1] != connection.scalar(text("SELECT notes FROM party"))
    office.desk.note(customer, None)
    assert office.desk.notes(customer) is None


def test_an_order_is_placed_and_shipped(office: Office) -> None:
    """Lines, total and state are as ordered."""
    state = office.package.models.State
    order = office.desk.order(office.desk.add_customer("kim"), {"apple": 3, "pear": 1})
    assert (state.PLACED, Decimal("5.35"), {"apple": 3, "pear": 1}) == office.desk.show(order)
    assert 1 == office.desk.ship_all()
    assert state.SHIPPED == office.desk.show(order)[0]


def test_an_order_changes(office: Office) -> None:
    """A line without a quantity is taken away."""
    order = office.desk.order(office.desk.add_customer("kim"), {"apple": 3, "pear": 1})
    office.desk.change(order, "apple", 1)
    office.desk.change(order, "pear", 0)
    assert (Decimal("1.10"), {"apple": 1}) == office.desk.show(order)[1:]


def test_an_order_beyond_the_credit_is_refused(office: Office) -> None:
    """Nothing is left of it."""
    customer = office.desk.add_customer("kim")
    with pytest.raises(office.package.desk.CreditError):
        office.desk.order(customer, {"pear": 100})
    assert 0 == office.desk.ship_all()


def test_cancelled_order_is_deleted_with_its_lines(office: Office) -> None:
    """With its lines, and not with its customer."""
    customer = office.desk.add_customer("kim")
    office.desk.cancel(office.desk.order(customer, {"apple": 1}))
    order = office.desk.order(customer, {"plum": 1})
    assert {"plum": 1} == office.desk.show(order)[2]


def test_prices_are_corrected_by_the_drivers_sql(office: Office) -> None:
    """Twice in one transaction, and rounded by the database."""
    office.desk.correct_prices("10")
    rounded = {code: round(price, 2) for code, price in office.desk.prices().items()}
    assert Decimal("2.26") == rounded["pear"]


@pytest.mark.parametrize("is_audited", [True], ids=["audited"], indirect=True)
def test_the_trail_names_the_clerk(office: Office) -> None:
    """Also for what one statement did to many rows."""
    office.desk.correct_prices("10")
    assert office.trail is not None
    events = under(office.desk.engine, office.trail).events()
    assert {("user", "3")} == {(event["actor"]["type"], event["actor"]["id"]) for event in events}
    assert 9 == len(events)


@pytest.mark.parametrize("is_audited", [True], ids=["audited"], indirect=True)
def test_an_order_without_an_actor_is_refused(office: Office) -> None:
    """Strict is the default: the application says who acts."""
    customer = office.desk.add_customer("kim")
    with pytest.raises(MissingActorError):
        Context().run(office.desk.order, customer, {"apple": 1})
