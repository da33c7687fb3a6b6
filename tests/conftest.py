"""Fixtures of every kind of test."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.collector import collector_binary
from support.ending import ENDING
from support.memory import use_memory
from support.postgres import empty_database

use_memory()

# Without bytecode, each of the hundreds of processes that tests start would compile all of src.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Read once per process by whichever instrumentation comes first; the service sets the same.
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")

# Who starts the tests in the background may have Ctrl-C ignored, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, however slow the machine: what fails here fails everywhere.
# `--hypothesis-profile=default` looks for others.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


# The garbage collector would traverse the modules and the thousands of tests again and again: a
# tenth of the CPU time of tests, and a quarter of that of their collection.
gc.disable()
_ALLOCATIONS = 50_000


def pytest_collection_finish() -> None:
    """Exempt what collection made from garbage collection, and resume it for what tests make."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Stop servers and remove directories before pytest-xdist may kill this process."""
    ENDING.close()


@pytest.fixture(scope="session")
def collector_bin() -> Path:
    """The real collector; built once where there is none, which takes minutes."""
    return collector_binary()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A database of its own on a real PostgreSQL, without a table."""
    with empty_database() as url:
        yield url


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`, one process more than cores: many tests wait for a program or a clock."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is a failure: whatever was skipped has not been shown."""
    report = yield
    if os.environ.get("AUDITSPAN_CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {item.nodeid}: {report.longrepr}"
    # A process that runs tests sends UTF-8 to the one that reports them.
    report.sections = [(name, _encodable(text)) for name, text in report.sections]
    return report


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
