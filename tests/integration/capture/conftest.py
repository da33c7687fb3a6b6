"""Both databases, empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from integration.library.world import sqlite_engine_at
from support.postgres import empty_database


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each of the databases, without a table."""
    if request.param == "sqlite":
        made = sqlite_engine_at(tmp_path / "application.db")
        yield made
        made.dispose()
        return
    with postgresql() as made:
        yield made


@pytest.fixture
def postgresql_engine() -> Iterator[Engine]:
    """PostgreSQL, without a table."""
    with postgresql() as made:
        yield made


@contextmanager
def postgresql() -> Iterator[Engine]:
    """An engine on a database of its own."""
    with empty_database() as url:
        made = create_engine(url)
        yield made
        made.dispose()
