"""The pages of the viewer, as somebody uses them in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from apps.shop.story import signed_in
from auditspan import Actor, audit_context
from viewer.served import Served
from viewer.watched import require_accessible


def open_page(page: Page, served: Served, name: str) -> None:
    """Open one of the pages, by way of links where it has no address of its own."""
    fixed = {
        "trail": "/audit/",
        "empty": "/audit/?text=no+such+text",
        "filtered": "/audit/?action=customer.update&target_type=customer",
        "excluding": "/audit/?actor!=kim&outcome=success",
        "history": "/audit/history/customer/1",
        "state": "/audit/history/customer/1?at=2999-01-01",
        "integrity": "/audit/integrity",
        "missing": "/audit/history/customer/99",
    }
    page.goto(served.url + fixed.get(name, "/audit/?action=customer.update"))
    if name in {"event", "proof", "trace", "revert"}:
        page.locator("[data-row]").last.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("customer 1"))
    if name == "proof":
        page.get_by_role("button", name="Check it").click()
        expect(page.locator(".verdict")).to_contain_text("The row is unchanged")
    if name == "revert":
        page.get_by_role("link", name="Revert").click()
    if name == "trace":
        page.locator('a[href*="/traces/"]').click()
        page.locator(".span summary").first.click()


PAGES = (
    *("trail", "empty", "filtered", "excluding", "event", "proof", "history", "state", "revert"),
    *("integrity", "trace"),
)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_fits(page: Page, served: Served, name: str) -> None:
    """Axe finds no violation in light and dark, and nothing is wider than the window or a phone."""
    open_page(page, served, name)
    require_accessible(page)


def test_an_event_leads_to_its_trace_and_back(page: Page, served: Served) -> None:
    """One click each: from the list to the trace, from its span event to the event, and on."""
    page.goto(f"{served.url}/audit/?action=customer.denied")
    page.get_by_role("row").nth(1).locator('a[href*="/traces/"]').click()
    page.get_by_role("link", name="audit.customer.denied").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("performed customer.denied")
    page.locator('a[href*="/traces/"]').click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Trace")


def test_a_value_that_is_clicked_becomes_a_filter(page: Page, served: Served) -> None:
    """The filters add up, are in the URL, and can be removed one by one."""
    page.goto(f"{served.url}/audit/")
    page.get_by_role("link", name="Kim", exact=True).first.click()
    page.get_by_role("link", name="customer.update").first.click()
    assert page.url.endswith("/audit/?actor=kim&action=customer.update")
    expect(page.locator("[data-row]")).to_have_count(1)
    page.get_by_role("link", name="actor: kim").click()
    assert page.url.endswith("/audit/?action=customer.update")


def test_a_value_is_excluded_and_the_filter_inverted(page: Page, served: Served) -> None:
    """`≠` beside a value, and on the chip of a filter; a search keeps what is excluded."""
    page.goto(f"{served.url}/audit/?action=customer.update")
    page.get_by_role("link", name="Not this actor").first.click()
    assert page.url.endswith("/audit/?action=customer.update&actor%21=nightly-billing")
    page.get_by_label("Text").first.fill("Turing")
    page.get_by_role("button", name="Search").click()
    assert "actor%21=nightly-billing" in page.url
    page.get_by_role("link", name="Only nightly-billing instead").click()
    assert "actor=nightly-billing" in page.url
    page.get_by_role("link", name="All but nightly-billing instead").click()
    assert "actor%21=nightly-billing" in page.url


def test_a_search_is_downloaded(page: Page, served: Served) -> None:
    """As CSV, with the events of the search."""
    page.goto(f"{served.url}/audit/?action=*.denied")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "audit-events.csv" == download.value.suggested_filename
    lines = download.value.path().read_text().splitlines()
    assert ["action", "customer.denied"] == [line.split('","')[4] for line in lines]


def test_a_change_is_reverted_by_keyboard(page: Page, served: Served) -> None:
    """From the history, with a reason, and then shown at its top."""
    key = signed_in(served.shop, "kim").post("/customers", data={"name": "Ada"}).get_json()["id"]
    page.goto(f"{served.url}/audit/history/customer/{key}")
    page.get_by_role("link", name="Revert customer.create").first.press("Enter")
    page.get_by_label("Reason").fill("entered twice")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Revert").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"History of customer {key}")
    expect(page.locator(".timeline > li").first).to_contain_text("entered twice")


def test_the_form_and_the_presets_search(page: Page, served: Served) -> None:
    """Fields that stay empty are not in the URL, and the form shows what was asked for."""
    page.goto(f"{served.url}/audit/")
    page.get_by_label("Action", exact=True).fill("tag.*")
    page.get_by_role("button", name="Search").click()
    assert page.url.endswith("/audit/?action=tag.%2A")
    expect(page.get_by_label("Action", exact=True)).to_have_value("tag.*")
    page.get_by_role("link", name="Denied", exact=True).click()
    expect(page.locator("[data-row]")).to_have_count(1)
    page.get_by_role("link", name="Clear").click()
    assert page.url.endswith("/audit/")


def test_an_id_is_copied(page: Page, served: Served) -> None:
    """The button is not a part of the link beside it, and says that it was pressed."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(page, served, "event")
    address = page.url
    page.get_by_role("button", name="Copy the trace id").click()
    expect(page.get_by_role("button", name="Copy the trace id")).to_have_text("Copied")
    assert address == page.url
    copied = page.evaluate("navigator.clipboard.readText()")
    assert page.locator('dd a[href*="/traces/"]').inner_text() == copied


def test_the_keyboard_is_sufficient(page: Page, served: Served) -> None:
    """`j` and `k` move through the events, Enter opens one, `/` moves to the search."""
    page.goto(f"{served.url}/audit/?actor=kim")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for key in "jjk":
        page.keyboard.press(key)
    expect(page.locator("[data-row]").first).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("Grace")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("text=Grace"))
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Context")).to_be_visible()


def test_a_live_list_shows_new_events(page: Page, served: Served) -> None:
    """An event appears without a click, is announced, and the polls are not recorded."""
    page.goto(f"{served.url}/audit/?action=note.*&live=1")
    expect(page.locator("[data-row]")).to_have_count(0)
    before = views(served)
    with audit_context(actor=Actor.system("test")):
        served.shop.trail.record_durable("note.added")
    expect(page.locator("[data-row]")).to_have_count(1)
    expect(page.get_by_role("status").and_(page.locator("#news"))).to_have_text("1 new event")
    expect(page.locator("#listing .state span")).to_have_text("delivered")
    assert before == views(served)


def views(served: Served) -> list[str]:
    """The ids of the views that were recorded."""
    with served.shop.sessions() as session:
        found = served.shop.trail.events(session, action="audit.viewed")
        return [event.event_id for event in found]


def test_markup_in_values_does_not_run(page: Page, served: Served) -> None:
    """A corpus of scripts and handlers is text in the list, in the event and in its history."""
    script = "window.bad = 1"
    corpus = (
        f"<script>{script}</script>",
        f"<img src=x onerror='{script}'>",
        f'"><svg onload="{script}">',
        f"' onmouseover='{script}",
        f"<a href='javascript:{script}'>x</a>",
        f"<div hx-get='/audit/' hx-trigger='load' hx-on:htmx:load='{script}'>x</div>",
    )
    client = signed_in(served.shop, "kim")
    notes = "\n".join(corpus)
    client.post("/customers", data={"name": corpus[0], "email": corpus[1], "notes": corpus[2]})
    key = client.post("/customers", data={"name": corpus[3], "email": corpus[4], "notes": notes})
    for path in ("/?action=customer.create", f"/history/customer/{key.get_json()['id']}"):
        page.goto(f"{served.url}/audit{path}")
        assert [False, 0] == page.evaluate(
            "['bad' in window, document.querySelectorAll('main img, main svg, [hx-on]').length]"
        )
        expect(page.locator("main")).to_contain_text(corpus[4])


def test_the_pages_work_without_javascript(served: Served, page: Page) -> None:
    """The proof is checked by a page of its own, and so is a change reverted, or refused."""
    browser = page.context.browser
    assert browser is not None
    with browser.new_context(java_script_enabled=False) as context:
        plain = context.new_page()
        plain.context.request.post(f"{served.url}/login", form={"name": "ada"})
        plain.goto(f"{served.url}/audit/?action=tag.create")
        plain.locator("[data-row]").click()
        plain.get_by_role("button", name="Check it").click()
        expect(plain.locator(".verdict")).to_contain_text("The row is unchanged")
        plain.get_by_role("link", name="Revert").click()
        plain.get_by_role("button", name="Revert").click()
        expect(plain.get_by_role("alert")).to_contain_text("was not undone")


def test_a_visitor_without_permission_sees_nothing(served: Served, page: Page) -> None:
    """The page says who can help, and shows no event."""
    browser = page.context.browser
    assert browser is not None
    with browser.new_context() as context:
        stranger = context.new_page()
        response = stranger.goto(f"{served.url}/audit/")
        assert response is not None
        assert 403 == response.status
        expect(stranger.get_by_role("heading", level=1)).to_have_text("Forbidden")
