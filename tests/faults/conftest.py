"""Tests that kill, restart, fill up and hold up what the trail runs on; minutes each.

Only `make test-faults` and `make soak` run them.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.counts import Counts, chosen_counts
from faults.place import Place, placed
from support.cluster import Cluster
from support.roles import deployed_at

HERE = Path(__file__).parent
Figures = Callable[..., None]
_FIGURES = "figures"


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collected only when somebody names this directory or what is in it."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured."""
    reports = terminalreporter.getreports("passed")
    lines = [text for one in reports for name, text in one.user_properties if name == _FIGURES]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes what a test has measured; it is shown in the end."""

    def take(**values: float) -> None:
        shown = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())
        # A process that runs tests sends them to the one that reports.
        request.node.user_properties.append((_FIGURES, f"{request.node.name}: {shown}"))

    return take


@pytest.fixture(scope="session")
def counts() -> Counts:
    """How much of everything."""
    return chosen_counts()


@pytest.fixture
def chance() -> random.Random:
    """When what happens; AUDITSPAN_FAULT_SEED repeats it."""
    seed = int(os.environ.get("AUDITSPAN_FAULT_SEED") or secrets.randbelow(10**6))
    print(f"AUDITSPAN_FAULT_SEED={seed}")  # noqa: T201 (pytest shows it when the test fails)
    return random.Random(seed)  # noqa: S311 (no secret)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that nobody else uses."""
    cluster = Cluster.make()
    yield cluster
    cluster.destroy()


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path, collector_bin: Path) -> Iterator[Place]:
    """A deployment on a database of its own, in which nothing runs yet but the collector."""
    with (
        cluster.database() as url,
        deployed_at(url) as database,
        placed(database, tmp_path, collector_bin) as place,
    ):
        yield place
