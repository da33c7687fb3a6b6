"""A day in the shop, for tests and pictures."""

from __future__ import annotations

from flask.testing import FlaskClient

from apps.shop.app import Shop
from apps.shop.models import Customer, Tag
from auditspan import Actor, Target, audit_context

CUSTOMERS = (
    {"name": "Grace Hopper", "email": "grace@example.org", "iban": "DE02120300000000202051"},
    {"name": "Alan Turing", "email": "alan@example.org"},
    {"name": "Katherine Johnson", "email": "katherine@example.org"},
)


def signed_in(shop: Shop, name: str) -> FlaskClient:
    """A client that has logged in."""
    client = shop.app.test_client()
    assert client.post("/login", data={"name": name}).status_code == 204
    return client


def run_a_day(shop: Shop) -> None:
    """Creations, changes, a deletion, links, a denied request, a job and an explicit event."""
    kim, lee = signed_in(shop, "kim"), signed_in(shop, "lee")
    keys = [kim.post("/customers", data=one).get_json()["id"] for one in CUSTOMERS]
    kim.post(f"/customers/{keys[0]}", data={"email": "grace.hopper@example.org", "notes": "VIP"})
    lee.post(f"/customers/{keys[1]}", data={"name": "Alan M. Turing", "notes": "called. " * 60})
    lee.post(f"/customers/{keys[2]}/delete")
    kim.post(f"/customers/{keys[2]}/delete")
    with audit_context(actor=Actor.system("nightly-billing"), reason="month end"):
        with shop.sessions.begin() as session:
            customer = session.get_one(Customer, keys[0])
            customer.tags.append(Tag(word="invoiced"))
        shop.trail.record_durable(
            "invoice.exported",
            target=Target(type="invoice", id="2026-11"),
            metadata={"format": "pdf", "pages": 12},
        )
