"""Each application on both databases, without a trail and under one."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what applications do alone on PostgreSQL: SQLite is enough to compare with."""
    for item in items:
        if {"postgresql", "alone"} <= {*item.nodeid.rpartition("[")[2].strip("]").split("-")}:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'application.db'}"
    made: str = request.getfixturevalue("postgres_url")
    return made


@pytest.fixture(params=[False, True], ids=["alone", "audited"])
def is_audited(request: pytest.FixtureRequest) -> bool:
    """Whether the application is under a trail."""
    made: bool = request.param
    return made
