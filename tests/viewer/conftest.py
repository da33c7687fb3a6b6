"""Tests in a browser, which is started for them; only `make test-viewer` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from apps.shop.story import run_a_day
from support.patience import PATIENCE
from viewer.served import Served, launched_browser, served_shop, sign_in, until_delivered
from viewer.watched import quiet_on_host

HERE = Path(__file__).parent

expect.set_options(timeout=PATIENCE * 1000)


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collected only when this directory or a file in it is named."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, for all tests."""
    with launched_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Served]:
    """The shop after a day, with its worker still running."""
    with served_shop(tmp_path_factory.mktemp("shop")) as served:
        run_a_day(served.shop)
        with browser.new_page() as page:
            sign_in(page, served.url, "ada")
            until_delivered(page, f"{served.url}/audit/")
        yield served


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A page of the auditor, which may neither write to the console nor leave the host."""
    with browser.new_context() as context:
        page = context.new_page()
        sign_in(page, served.url, "ada")
        with quiet_on_host(page, served.url):
            yield page
