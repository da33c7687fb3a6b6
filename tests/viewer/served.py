"""The shop behind a real HTTP server, and a real browser that looks at it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server

from apps.shop import Shop, make_shop
from auditspan_service.database.engine import make_engine
from support.patience import PATIENCE

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, kw_only=True)
class Served:
    """The shop at a URL, with a worker that seals and delivers."""

    shop: Shop
    url: str


@contextmanager
def served_shop(directory: Path) -> Iterator[Served]:
    """The shop on SQLite, with its server and its worker."""
    shop = make_shop(make_engine(f"sqlite:///{directory}/shop.db"), directory / "files")
    server = make_server("127.0.0.1", 0, shop.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with shop.worker():
            yield Served(shop=shop, url=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        shop.engine.dispose()


@contextmanager
def launched_browser() -> Iterator[Browser]:
    """Chromium without a window."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "a browser is needed: Chromium (`apt-get install chromium`) or Chrome"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-dev-shm-usage"],  # as root, on pages of this machine
        )
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, url: str, name: str) -> None:
    """Log in to the shop; the browser keeps the cookie."""
    response = page.context.request.post(f"{url}/login", form={"name": name})
    assert response.status == 204


def until_delivered(page: Page, url: str) -> None:
    """Wait until the header says that every event is delivered."""
    deadline = time.monotonic() + PATIENCE
    page.goto(url)
    while page.locator("#health").get_by_text("all delivered").count() == 0:
        assert time.monotonic() < deadline, page.locator("#health").inner_text()
        page.wait_for_timeout(100)
        page.reload()
