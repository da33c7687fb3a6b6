"""Tests with backends that are fetched and built for them; only `make test-backends` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import known
from backends.running import Watched, service_beside, service_with

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collected only when somebody names this directory or what is in it."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory, collector_bin: Path) -> Iterator[Watched]:
    """A service whose traces also go to a Jaeger that has just been started."""
    yield from service_with(known.jaeger(), tmp_path_factory.mktemp("jaeger"), collector_bin)


@pytest.fixture(scope="session")
def zipkin(tmp_path_factory: pytest.TempPathFactory, collector_bin: Path) -> Iterator[Watched]:
    """A service whose traces also go to a Zipkin that has just been started."""
    yield from service_with(known.zipkin(), tmp_path_factory.mktemp("zipkin"), collector_bin)


@pytest.fixture(scope="session")
def away(tmp_path_factory: pytest.TempPathFactory, collector_bin: Path) -> Iterator[Watched]:
    """A service whose traces should also go to a backend that is not there."""
    yield from service_beside(known.away(), tmp_path_factory.mktemp("away"), collector_bin)
