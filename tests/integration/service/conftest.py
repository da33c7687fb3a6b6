"""The service on both databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditspan_service.config import Settings
from auditspan_service.models import Base
from support.compared import compare_once
from support.migrated import migrated_sqlite
from support.postgres import empty_database, migrated_database
from support.service import RunningService, running_service, settings_at

DATABASES = ("sqlite", "postgresql")
_KEPT = {"AUDITSPAN_TEST_DATABASE_URL"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("AUDITSPAN_", "OTEL_")) and name not in _KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with empty_database() as url:
            yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite database with the schema."""
    return migrated_sqlite(tmp_path / "auditspan.db")


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL database with the schema."""
    with migrated_database() as url:
        yield url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """A database with the schema."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings for the database, with everything else in a directory of the test's own."""
    return settings_at(tmp_path / "data", database_url)


@pytest.fixture
def service(settings: Settings) -> Iterator[RunningService]:
    """The service on both databases, one after the other."""
    with running_service(settings) as running:
        compare_once(running.services.database.engine, Base.metadata)
        yield running


@pytest.fixture
def postgresql_service(tmp_path: Path, postgresql_url: str) -> Iterator[RunningService]:
    """The service on PostgreSQL, where transactions run at the same time."""
    with running_service(settings_at(tmp_path / "data", postgresql_url)) as running:
        compare_once(running.services.database.engine, Base.metadata)
        yield running
