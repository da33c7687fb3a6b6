"""The ages in the backlog are measured by the database's clock alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from auditspan.delivery.backlog import Backlog, read_backlog
from auditspan.errors import SinkUnavailableError
from integration.trust.world import Trail, opened

HOUR = timedelta(hours=1)


@dataclass(kw_only=True)
class SkewedTrail:
    """A trail on SQLite, whose clock differs from that of the process.

    Attributes:
        trail: the trail.
        ahead: the time by which the database's clock is ahead.
    """

    trail: Trail
    ahead: timedelta

    def skew(self, driver: Any, _record: object) -> None:
        """Replace the function of SQLite that `DatabaseClock` calls."""
        driver.create_function("strftime", 2, self._time)

    def _time(self, form: str, _now: str) -> str:
        now = datetime.now(UTC) + self.ahead
        seconds = f"{now:%S}.{now.microsecond // 1000:03d}"  # SQLite's `%f`
        return now.strftime(form.replace("%f", seconds))

    def backlog(self) -> Backlog:
        """Return the backlog as a probe reads it."""
        with self.trail.engine.connect() as connection:
            return read_backlog(connection, self.trail.tables, ["file"])


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def skewed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SkewedTrail]:
    """A delivered trail whose database is an hour ahead of its worker, or behind it."""
    with opened(f"sqlite:///{tmp_path / 'trail.db'}", tmp_path / "collector") as trail:
        made = SkewedTrail(trail=trail, ahead=request.param)
        event.listen(trail.engine, "connect", made.skew)
        trail.engine.dispose()  # the next connection has the other clock
        trail.grow(3)
        yield made


def test_worker_was_seen_when_it_last_saved_its_cursors(skewed: SkewedTrail) -> None:
    """Ten minutes after the last delivery it was seen ten minutes ago, whatever its own clock."""
    assert 0 <= (skewed.backlog().last_seen_seconds or 0.0) < 60
    skewed.ahead += timedelta(minutes=10)
    assert 600 <= (skewed.backlog().last_seen_seconds or 0.0) < 660


def test_rate_is_of_the_last_minute(skewed: SkewedTrail) -> None:
    """It is shown after a delivery, and no longer ten minutes later."""
    assert 0 < skewed.backlog().undelivered["file"].per_second
    skewed.ahead += timedelta(minutes=10)
    assert 0 == skewed.backlog().undelivered["file"].per_second


def test_age_of_the_last_error_is_that_of_the_attempt(skewed: SkewedTrail) -> None:
    """Ten minutes after a failed attempt its error is ten minutes old."""
    skewed.trail.folder.rename(skewed.trail.folder.with_name("moved"))
    skewed.trail.folder.touch()  # a file where the sink needs a directory
    skewed.trail.write()
    skewed.trail.seal()
    with pytest.raises(SinkUnavailableError):
        skewed.trail.deliver()
    skewed.ahead += timedelta(minutes=10)
    assert 600 <= (skewed.backlog().undelivered["file"].last_error_seconds or 0.0) < 660
