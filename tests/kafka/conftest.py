"""Tests with Apache Kafka, which is fetched for them; only `make test-kafka` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kafka.brokers import Kafka, kafka

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collected only when somebody names this directory or what is in it."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Kafka with one broker."""
    with kafka(tmp_path_factory.mktemp("one") / "kafka", 1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Kafka with three brokers; a test that kills one starts it again."""
    with kafka(tmp_path_factory.mktemp("three") / "kafka", 3) as cluster:
        yield cluster
