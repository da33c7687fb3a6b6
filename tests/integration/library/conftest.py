"""Both databases, and an application under a trail on each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url

from auditspan.storage.tables import audit_tables
from auditspan.telemetry.span_events import TelemetryErrors
from integration.library.models import Base
from integration.library.world import World, make_world, sqlite_engine_at
from support.compared import compare_once
from support.postgres import copied_database, empty_database

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(autouse=True)
def _loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure to emit fails the test."""
    monkeypatch.setattr(TelemetryErrors, "raised", True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the application's tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    _make_tables(sqlite_engine_at(path))
    return path


@pytest.fixture(scope="session")
def postgresql_template() -> Iterator[str]:
    """A PostgreSQL database with the application's tables, to be copied."""
    with empty_database() as url:
        _make_tables(create_engine(url))
        yield url


@pytest.fixture
def sqlite_engine(sqlite_template: Path, tmp_path: Path) -> Iterator[Engine]:
    """A SQLite file of the test's own."""
    engine = sqlite_engine_at(Path(shutil.copy(sqlite_template, tmp_path / "application.db")))
    compare_once(engine, Base.metadata)
    yield engine
    engine.dispose()


@pytest.fixture
def postgresql_engine(postgresql_template: str) -> Iterator[Engine]:
    """A PostgreSQL database of the test's own."""
    with copied_database(str(make_url(postgresql_template).database)) as url:
        engine = create_engine(url, pool_size=20)
        compare_once(engine, Base.metadata)
        yield engine
        engine.dispose()


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the databases."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """The application; when the test is over, its trail is replayed against its tables."""
    made = make_world(engine)
    yield made
    made.check()


def _make_tables(engine: Engine) -> None:
    audit_tables(Base.metadata)
    Base.metadata.create_all(engine)
    engine.dispose()
