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
from support.templates import Template


def partition(engine: Engine) -> None:
    """Do it as a migration does."""
    with engine.begin() as connection:
        partition_audit_event(Operations(MigrationContext.configure(connection)))


def _fill(url: str, folder: Path) -> None:
    with opened(url, folder / "collector") as made:
        made.grow(4, 1, 6, 5)
        partition(made.engine)
        made.grow(4)


_PARTITIONED = Template(_fill)


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Sixteen rows of before, delivered, and four after."""
    with (
        _PARTITIONED.copied("postgresql", tmp_path) as url,
        opened(url, tmp_path / "collector") as made,
    ):
        made.written = 20
        yield made


@pytest.fixture
def deployed() -> Iterator[Deployed]:
    """The roles and rights of a deployment; each test may change them."""
    with deployed_database() as place:
        yield place
