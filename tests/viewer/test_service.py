"""The pages of the really started service, with the real collector, in a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from support.patience import PATIENCE
from support.running import Up
from viewer.watched import quiet_on_host, require_accessible


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, collector_bin: Path) -> Iterator[Up]:
    """The service, in which one user was made."""
    environ = {
        "OTELCOL_BIN": str(collector_bin),
        "AUDITSPAN_TRACE_URL": "https://jaeger.example.org/trace/{trace_id}",
    }
    with Up(tmp_path_factory.mktemp("service") / "data", environ=environ) as up:
        assert up.client.post("/v1/users", json={"username": "grace"}).is_success
        yield up


@pytest.fixture
def page(browser: Browser, up: Up) -> Iterator[Page]:
    """A page of a visitor who has not signed in."""
    with browser.new_context() as context:
        page = context.new_page()
        with quiet_on_host(page, up.said.url):
            yield page


GRACE = "/?action=user.create&target_type=user&target_id=2"


def sign_in(page: Page, up: Up, path: str = GRACE) -> None:
    """Ask for a page, and sign in on the way to it.

    Erasable values, as names are, are not found by their text.
    """
    page.goto(f"{up.said.url}{path}")
    page.get_by_label("API key").fill(up.key)
    page.get_by_role("button", name="Sign in").click()


def test_an_auditor_signs_in_and_follows_a_change(page: Page, up: Up) -> None:
    """From the key to the list, the event, its proof and signature, its trace, and back."""
    sign_in(page, up)
    reload_until(page.locator("#listing .state").get_by_text("delivered"))
    page.locator("[data-row]").click()
    page.get_by_role("button", name="Check it").click()
    expect(page.locator(".verdict")).to_contain_text("The row is unchanged")
    expect(page.locator(".checks")).to_contain_text("Signaturevalid")
    expect(page.get_by_role("link", name="Open in jaeger.example.org")).to_be_visible()
    assert 0 == page.get_by_role("link", name="Revert").count()
    page.locator('a[href^="/traces/"]').click()
    reload_until(page.locator(".span .name").get_by_text("POST /v1/users"))
    page.get_by_role("link", name="audit.user.create").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("created user")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


@pytest.mark.parametrize(
    "name", ["sign-in", "trail", "event", "history", "state", "trace", "integrity"]
)
def test_a_page_of_the_service_is_accessible_and_fits(page: Page, up: Up, name: str) -> None:
    """As the pages of an application are, with the account in the header."""
    open_page(page, up, name)
    require_accessible(page)


def open_page(page: Page, up: Up, name: str) -> None:
    """Open one of the pages."""
    if name == "sign-in":
        page.goto(f"{up.said.url}/sign-in")
        return
    sign_in(page, up)
    if name == "integrity":
        page.goto(f"{up.said.url}/integrity")
    elif name != "trail":
        page.locator("[data-row]").click()
    if name in {"history", "state"}:
        page.get_by_role("link", name="user 2").click()
    if name == "state":
        page.get_by_role("link", name="State after user.create").first.click()
        expect(page.locator("#state")).to_contain_text("grace")
    if name == "trace":
        page.locator('a[href^="/traces/"]').click()
        reload_until(page.locator(".span .name").get_by_text("POST /v1/users"))


def reload_until(expected: Locator) -> None:
    """Load the page again until the element is there; worker and collector take a moment."""
    deadline = time.monotonic() + PATIENCE
    while expected.count() == 0:
        assert time.monotonic() < deadline, expected.page.locator("main").inner_text()
        expected.page.wait_for_timeout(200)
        expected.page.reload()
