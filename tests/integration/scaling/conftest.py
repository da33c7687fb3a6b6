"""A trail that was filled, partitioned and went on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Engine

from auditspan.alembic.operations import partition_audit_event
from integration.trust.world import Trail, opened
from support.roles import Deployed, deployed_database


def partition(engine: Engine) -> None:
    """Do it as a migration does."""
    with engine.begin() as connection:
        partition_audit_event(Operations(MigrationContext.configure(connection)))


@pytest.fixture
def trail(postgres_url: str, tmp_path: Path) -> Iterator[Trail]:
    """Sixteen rows of before, delivered, and four after."""
    with opened(postgres_url, tmp_path / "collector") as made:
        made.grow(4, 1, 6, 5)
        partition(made.engine)
        made.grow(4)
        yield made


@pytest.fixture
def deployed() -> Iterator[Deployed]:
    """The roles and rights of a deployment; each test may change them."""
    with deployed_database() as place:
        yield place
