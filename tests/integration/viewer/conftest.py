"""The shop with a day behind it, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.shop import Shop, make_shop
from apps.shop.story import run_a_day
from auditspan_service.database.engine import make_engine
from integration.viewer.looking import Auditor
from support.patience import PATIENCE
from support.postgres import empty_database


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """The shop after a day, sealed and delivered."""
    directory = tmp_path_factory.mktemp("shop")
    if request.param == "sqlite":
        yield from _after_a_day(f"sqlite:///{directory}/shop.db", directory)
    else:
        with empty_database() as url:
            yield from _after_a_day(url, directory)


@pytest.fixture
def fresh_shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop of the test's own, in which nothing has happened yet."""
    shop = make_shop(make_engine(f"sqlite:///{tmp_path}/shop.db"), tmp_path / "files")
    yield shop
    shop.engine.dispose()


@pytest.fixture
def auditor(shop: Shop) -> Auditor:
    """An auditor of the shop."""
    return Auditor(shop)


def _after_a_day(url: str, directory: Path) -> Iterator[Shop]:
    shop = make_shop(make_engine(url), directory / "files")
    run_a_day(shop)
    seal_and_deliver(shop)
    yield shop
    shop.engine.dispose()


def seal_and_deliver(shop: Shop) -> None:
    """Run a worker until every event is delivered."""
    deadline = time.monotonic() + PATIENCE
    with shop.worker():
        while not _is_delivered(shop):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _is_delivered(shop: Shop) -> bool:
    with shop.sessions() as session:
        return all(event.delivered for event in shop.trail.events(session))
