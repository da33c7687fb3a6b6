"""The pages of the really started service, with the real collector, in a browser."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import Browser, Locator, expect

from support.patience import PATIENCE
from support.running import Up


def test_an_auditor_signs_in_and_follows_a_change(
    browser: Browser, tmp_path: Path, collector_bin: Path
) -> None:
    """From the key to the list, the event, its proof and signature, its trace, and back."""
    environ = {"OTELCOL_BIN": str(collector_bin)}
    with Up(tmp_path / "data", environ=environ) as up, browser.new_context() as context:
        assert up.client.post("/v1/users", json={"username": "grace"}).is_success
        page = context.new_page()
        page.goto(f"{up.said.url}/?action=user.create&text=grace")
        page.get_by_label("API key").fill(up.key)
        page.get_by_role("button", name="Sign in").click()
        reload_until(page.locator("#listing .state").get_by_text("delivered"))
        page.locator("[data-row]").click()
        page.get_by_role("button", name="Check it").click()
        expect(page.locator(".verdict")).to_contain_text("The row is unchanged")
        expect(page.locator(".checks")).to_contain_text("Signaturevalid")
        page.locator('a[href*="/traces/"]').click()
        reload_until(page.locator(".span .name").get_by_text("POST /v1/users"))
        page.get_by_role("link", name="audit.user.create").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("created user")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def reload_until(expected: Locator) -> None:
    """Load the page again until the element is there; worker and collector take a moment."""
    deadline = time.monotonic() + PATIENCE
    while expected.count() == 0:
        assert time.monotonic() < deadline, expected.page.locator("main").inner_text()
        expected.page.wait_for_timeout(200)
        expected.page.reload()
