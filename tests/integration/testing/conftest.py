"""Both databases, with notes under a trail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from auditspan import AuditTrail, audit_context
from integration.testing.notes import KIM, Base


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database of the test's own; SQLite as its driver has it, with late transactions."""
    sqlite = f"sqlite:///{tmp_path / 'notes.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = create_engine(url)
    yield made
    made.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine)


@pytest.fixture
def trail(sessions: sessionmaker[Session], engine: Engine) -> Iterator[AuditTrail]:
    """A trail over empty tables, in a context."""
    made = AuditTrail(sessions, metadata=Base.metadata)
    Base.metadata.create_all(engine)
    with audit_context(actor=KIM):
        yield made
