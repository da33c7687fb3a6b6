"""What every page must keep: accessibility, its width, a quiet console, and its host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}


def require_accessible(page: Page) -> None:
    """Axe finds no violation in light and dark, and nothing is wider than the window or a phone."""
    for scheme, size in (("light", DESKTOP), ("dark", PHONE)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size(size)  # type: ignore[arg-type]
        found = list(_violations(page))
        assert [] == found, "\n".join(found)
        assert size["width"] == page.evaluate("document.documentElement.scrollWidth")


def _violations(page: Page) -> Iterator[str]:
    """The rules of axe that a page breaks, with the elements."""
    for one in Axe().run(page).response["violations"]:
        for node in one["nodes"]:
            yield f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"


@contextmanager
def quiet_on_host(page: Page, url: str) -> Iterator[Page]:
    """A page that neither writes to the console nor requests anything from another host."""
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield page
    assert [] == messages, messages
    assert [] == [one for one in requests if not one.startswith(f"{url}/")]
