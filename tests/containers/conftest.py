"""Tests that need a Docker engine and the image; only `make test-containers` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.stack import Stack

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collected only when somebody names this directory or what is in it."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole of compose.yaml, healthy, as a project of its own; removed with its volumes."""
    stack = Stack(tmp_path_factory.mktemp("compose"))
    try:
        stack.up()
        yield stack
    finally:
        stack.down("--volumes")


@pytest.fixture(scope="session")
def api_key(stack: Stack) -> str:
    """A key that may do everything, made as the how-to says."""
    return stack.new_key("admin")
