"""Log of a loop that retries: what an operator reads during an outage."""

from __future__ import annotations

import logging
import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from auditspan.telemetry import RetryLog

LOGGER = logging.getLogger("retries")


def failure(words: str) -> OperationalError:
    """The error of a database that cannot work now."""
    return OperationalError("INSERT …", {"name": "kim"}, sqlite3.OperationalError(words))


def test_outage_is_logged_once_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """A new reason is logged, a repeated one is not; no line has a traceback."""
    log = RetryLog(LOGGER, "sealing")
    for words in ("disk I/O error", "disk I/O error", "database or disk is full"):
        log.failed(failure(words), 1.0)
    log.succeeded()
    log.succeeded()
    starts = "sealing is interrupted, because the database failed: "
    assert [
        (starts + "disk I/O error", "ERROR", None),
        (starts + "database or disk is full", "ERROR", None),
        ("sealing continues: the database answers again", "WARNING", None),
    ] == [
        (one.getMessage().partition(";")[0], one.levelname, one.exc_info) for one in caplog.records
    ]


def test_other_failure_has_its_traceback_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """It is a fault of the program, so nothing is left out."""
    log = RetryLog(LOGGER, "sealing")
    error = KeyError("seq")
    for _ in range(2):
        log.failed(error, 0.5)
    log.succeeded()
    assert [("sealing failed; retrying in 0.5 s", error)] * 2 == [
        (one.getMessage(), one.exc_info and one.exc_info[1]) for one in caplog.records
    ]
