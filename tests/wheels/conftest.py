"""Tests of the built wheel; only `make test-wheel` runs them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from wheels.environment import Environment, build_wheel

HERE = Path(__file__).parent
Install = Callable[..., Environment]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collect these tests only if this directory or a file in it is named."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def install(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Install the wheel into an empty environment, once for each set of extras."""

    @cache
    def environment(extras: str = "", *more: str) -> Environment:
        return Environment.make(tmp_path_factory.mktemp("environment"), built, extras, *more)

    return environment
