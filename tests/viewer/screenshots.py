"""Take the pictures of the viewer for docs/images: `make screenshots`."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page

from apps.shop.story import run_a_day
from viewer.served import Served, launched_browser, served_shop, sign_in, until_delivered

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
SIZES = {"": (1280, 800), "-phone": (390, 844)}


def main() -> None:
    """Each page in light and dark, at the width of a desktop and of a phone."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="auditspan-screenshots-") as name,
        served_shop(Path(name)) as served,
        launched_browser() as browser,
    ):
        run_a_day(served.shop)
        with browser.new_page() as page:
            sign_in(page, served.url, "ada")
            until_delivered(page, f"{served.url}/audit/")
        record_verification(served)
        for scheme in ("light", "dark"):
            for size in SIZES:
                take(browser, served, scheme, size)


def record_verification(served: Served) -> None:
    """What the integrity page shows of the last verification."""
    result = served.shop.app.test_cli_runner().invoke(args=["audit", "verify", "--record"])
    assert result.exit_code == 0, result.output


def take(browser: Browser, served: Served, scheme: str, size: str) -> None:
    """The pages in one appearance."""
    width, height = SIZES[size]
    with browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
    ) as context:
        page = context.new_page()
        sign_in(page, served.url, "ada")
        until_delivered(page, f"{served.url}/audit/")
        ending = size + ("-dark" if scheme == "dark" else "")
        picture(page, f"viewer-trail{ending}")
        page.goto(f"{served.url}/audit/?action=customer.update")
        page.locator("[data-row]").last.click()
        page.get_by_role("button", name="Check it").click()
        page.locator(".verdict").wait_for()
        picture(page, f"viewer-event{ending}")
        page.locator('a[href*="/traces/"]').click()
        picture(page, f"viewer-trace{ending}")
        page.goto(f"{served.url}/audit/history/customer/1")
        page.get_by_role("link", name="State after customer.create").click()
        picture(page, f"viewer-history{ending}")
        page.get_by_role("link", name="Revert customer.update").last.click()
        picture(page, f"viewer-revert{ending}")
        page.goto(f"{served.url}/audit/integrity")
        picture(page, f"viewer-integrity{ending}")


def picture(page: Page, name: str) -> None:
    """The whole page, with its style and its icon."""
    page.wait_for_load_state("networkidle")
    file = IMAGES / f"{name}.png"
    page.screenshot(path=file, full_page=True)
    sys.stdout.write(f"{file.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
