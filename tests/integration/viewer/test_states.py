"""The state of an object at a time, and reverting a change."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import text

from apps.shop import Customer, Shop
from apps.shop.story import signed_in
from auditspan import Actor, Event, Target, audit_context
from integration.viewer.looking import Auditor

_COLUMN = re.compile(r'scope="row">(\w+)</th><td role="cell" class="plain">(.*?)</td>', re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
_TAG = re.compile(r"<[^>]+>")


def shown_state(page: str) -> dict[str, str]:
    """The columns and values of the state that a page shows."""
    card = page.partition('id="state"')[2].partition("</section>")[0]
    return {name: unescape(_TAG.sub("", value)) for name, value in _COLUMN.findall(card)}


def make_customer(shop: Shop, **changes: str) -> list[Event]:
    """A customer, changed once; the events, oldest first."""
    clerk = signed_in(shop, "kim")
    clerk.post("/customers", data={"name": "Grace", "iban": "DE02120300000000202051"})
    clerk.post("/customers/1", data={"email": "grace@example.org", **changes})
    with shop.sessions() as session:
        return shop.trail.history(session, Customer, 1)


def customer(shop: Shop) -> dict[str, str | None] | None:
    """The customer as it is in the table."""
    with shop.sessions() as session:
        found = session.get(Customer, 1)
        return {"name": found.name, "email": found.email} if found else None


def tokens(page: str) -> dict[str, str]:
    """The hidden fields of a form."""
    return dict(_HIDDEN.findall(page))


def test_a_state_is_that_after_its_event(fresh_shop: Shop) -> None:
    """Each event links to the state just after it; redacted values are not shown."""
    created, updated = make_customer(fresh_shop)
    auditor = Auditor(fresh_shop)
    history = auditor.page("/history/customer/1")
    assert f'href="?at={created.event_id}#state"' in history
    states = [
        shown_state(auditor.page("/history/customer/1", at=one.event_id))
        for one in (created, updated)
    ]
    assert ["null", "grace@example.org"] == [state["email"] for state in states]
    assert all(state["iban"].startswith("redacted") for state in states)
    assert "DE0212" not in history


def test_a_state_at_a_time_is_that_of_the_trail(fresh_shop: Shop) -> None:
    """Before its creation and after its deletion there is no object."""
    created, _ = make_customer(fresh_shop)
    auditor = Auditor(fresh_shop)
    then = shown_state(auditor.page("/history/customer/1", at=created.occurred_text))
    assert ("Grace", "null") == (then["name"], then["email"])
    assert "There was no such object" in auditor.page("/history/customer/1", at="2020-01-01")
    assert "null" != shown_state(auditor.page("/history/customer/1", at="2999-01-01"))["email"]
    signed_in(fresh_shop, "kim").post("/customers/1/delete")
    assert "There was no such object" in auditor.page("/history/customer/1", at="2999-01-01")


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("yesterday", "Invalid time &#39;yesterday&#39;"),
        ("0001-01-01", "There was no such object"),
        ("0001-01-01T00:00+14:00", "within the years 1 to 9999"),
    ],
)
def test_an_impossible_time_is_explained(fresh_shop: Shop, at: str, words: str) -> None:
    """The history is still shown."""
    created, _ = make_customer(fresh_shop)
    page = Auditor(fresh_shop).page("/history/customer/1", at=at)
    assert (True, True) == (words in page, created.event_id in page)


def test_an_object_that_never_was_has_no_state(fresh_shop: Shop) -> None:
    """The page says so."""
    make_customer(fresh_shop)
    signed_in(fresh_shop, "lee").post("/customers/7/delete")
    page = Auditor(fresh_shop).page("/history/customer/7", at="2999-01-01")
    assert "There was no such object" in page


def test_invalid_id_has_no_state(auditor: Auditor) -> None:
    """Whatever the database says of it, the history is shown."""
    with audit_context(actor=Actor.system("test")):
        auditor.shop.trail.record_durable("customer.seen", target=Target(type="customer", id="x"))
    page = auditor.page("/history/customer/x", at="2999-01-01")
    assert "customer.seen" in page
    assert "no object with this id" in page or "There was no such object" in page


@pytest.mark.parametrize("at", ["a\0b", "x" * 65])
def test_a_malformed_time_is_refused(auditor: Auditor, at: str) -> None:
    """With 400, since it could not be recorded."""
    assert 400 == auditor.get("/history/customer/1", at=at).status_code


def test_a_target_that_no_event_can_have_is_not_found(auditor: Auditor) -> None:
    """An id with a NUL, which PostgreSQL does not accept in a query, is not an error of ours."""
    assert 404 == auditor.get("/history/customer/a%00b").status_code


def test_a_change_is_reverted_after_confirmation(fresh_shop: Shop) -> None:
    """The page shows what changes; its form restores the values, with the reason and the viewer."""
    _, updated = make_customer(fresh_shop)
    auditor = Auditor(fresh_shop)
    path = f"/events/{updated.event_id}/revert"
    assert path in auditor.page("/history/customer/1")
    assert path in auditor.page(f"/events/{updated.event_id}")
    page = auditor.page(path)
    assert "The old values are restored" in page
    assert {"name": "Grace", "email": "grace@example.org"} == customer(fresh_shop)
    response = auditor.post(path, reason="entered twice", **tokens(page))
    assert (303, "/audit/history/customer/1") == (response.status_code, response.location)
    assert {"name": "Grace", "email": None} == customer(fresh_shop)
    newest = auditor.events()[0]
    assert ("ada", "entered twice") == (newest.actor.id, newest.reason)
    assert updated.event_id == newest.metadata["reverts"]


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_creations_and_deletions_are_reverted(fresh_shop: Shop, verb: str) -> None:
    """A created row is deleted, a deleted one is inserted again."""
    clerk, auditor = signed_in(fresh_shop, "kim"), Auditor(fresh_shop)
    clerk.post("/customers", data={"name": "Grace"})
    if verb == "delete":
        clerk.post("/customers/1/delete")
    path = f"/events/{auditor.events()[0].event_id}/revert"
    assert 303 == auditor.post(path, **tokens(auditor.page(path))).status_code
    assert (customer(fresh_shop) is None) == (verb == "create")


def test_a_refused_revert_is_explained(fresh_shop: Shop) -> None:
    """Where the column has changed since, nothing is written unless the box is ticked."""
    _, updated = make_customer(fresh_shop)
    signed_in(fresh_shop, "kim").post("/customers/1", data={"email": "new@example.org"})
    auditor = Auditor(fresh_shop)
    path = f"/events/{updated.event_id}/revert"
    fields = tokens(auditor.page(path))
    refused = auditor.post(path, reason="why", **fields)
    assert (409, True) == (refused.status_code, 'role="alert"' in refused.text)
    assert 'value="why"' in refused.text
    assert {"name": "Grace", "email": "new@example.org"} == customer(fresh_shop)
    assert 303 == auditor.post(path, force="1", **fields).status_code
    assert {"name": "Grace", "email": None} == customer(fresh_shop)


@pytest.mark.parametrize("fields", [{}, {"auditspan_token": "x"}, {"auditspan_token": ""}])
def test_a_form_of_another_site_reverts_nothing(fresh_shop: Shop, fields: dict[str, str]) -> None:
    """Without the token of the session, the form is refused."""
    _, updated = make_customer(fresh_shop)
    auditor = Auditor(fresh_shop)
    path = f"/events/{updated.event_id}/revert"
    auditor.page(path)
    others = Auditor(fresh_shop)
    for given in (fields, tokens(others.page(path))):
        assert 400 == auditor.post(path, **given).status_code
    assert {"name": "Grace", "email": "grace@example.org"} == customer(fresh_shop)


def test_an_auditor_without_permission_reverts_nothing(fresh_shop: Shop) -> None:
    """They see the pages without the link, and its address answers 403."""
    _, updated = make_customer(fresh_shop)
    auditor = Auditor(fresh_shop, "bea")
    assert "Revert" not in auditor.page(f"/events/{updated.event_id}")
    assert "Revert" not in auditor.page("/history/customer/1")
    path = f"/events/{updated.event_id}/revert"
    assert [403, 403] == [auditor.get(path).status_code, auditor.post(path).status_code]
    assert {"name": "Grace", "email": "grace@example.org"} == customer(fresh_shop)


def test_event_without_a_change_is_not_reverted(fresh_shop: Shop) -> None:
    """It has no link, and its address answers 404."""
    make_customer(fresh_shop)
    signed_in(fresh_shop, "lee").post("/customers/1/delete")
    auditor = Auditor(fresh_shop)
    denied = auditor.events()[0]
    assert "Revert" not in auditor.page(f"/events/{denied.event_id}")
    assert 404 == auditor.get(f"/events/{denied.event_id}/revert").status_code


def test_a_database_that_refuses_is_explained(fresh_shop: Shop) -> None:
    """Nothing is reverted, and the message contains no value."""
    _, updated = make_customer(fresh_shop)
    auditor = Auditor(fresh_shop)
    path = f"/events/{updated.event_id}/revert"
    fields = tokens(auditor.page(path))
    with fresh_shop.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER full BEFORE INSERT ON audit_event WHEN NEW.action LIKE '%.update' "
                "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
        )
    response = auditor.post(path, **fields)
    assert (409, True) == (response.status_code, "nothing was reverted" in response.text)
    assert {"name": "Grace", "email": "grace@example.org"} == customer(fresh_shop)
