"""A shop under a trail on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from integration.library.world import sqlite_engine_at
from integration.retention.shop import Shop
from support.postgres import empty_database


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """The shop, with its database and the folder that its sink writes to."""
    if request.param == "sqlite":
        engine = sqlite_engine_at(tmp_path / "shop.db")
        yield Shop(engine, tmp_path / "files")
        engine.dispose()
        return
    with empty_database() as url:
        engine = create_engine(url)
        yield Shop(engine, tmp_path / "files")
        engine.dispose()
