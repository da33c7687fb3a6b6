"""Trails on both databases: one for each test, and one that every attack leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from integration.trust.world import Trail, opened
from support.templates import Template

BATCHES = (4, 1, 6, 5)
DATABASES = ("sqlite", "postgresql")


@contextmanager
def grown(kind: str, folder: Path, *counts: int) -> Iterator[Trail]:
    """A delivered trail with a checkpoint for each count."""
    with (
        _template(counts).copied(kind, folder) as url,
        opened(url, folder / "collector") as trail,
    ):
        trail.written = sum(counts)
        yield trail


@cache
def _template(counts: tuple[int, ...]) -> Template:
    def fill(url: str, folder: Path) -> None:
        with opened(url, folder / "collector") as trail:
            trail.grow(*counts)

    return Template(fill)


@pytest.fixture(params=DATABASES)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trail]:
    """A trail without a row."""
    with grown(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=DATABASES)
def delivered(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trail]:
    """Sixteen rows under four checkpoints, delivered."""
    with grown(request.param, tmp_path, *BATCHES) as made:
        yield made


@pytest.fixture(scope="module", params=DATABASES)
def lasting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trail]:
    """The same for all tests of a file; for attacks, which are rolled back."""
    with grown(request.param, tmp_path_factory.mktemp(request.param), *BATCHES) as made:
        yield made
