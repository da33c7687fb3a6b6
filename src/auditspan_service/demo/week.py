"""Times of the scenes: in office hours mostly, at a few odd hours, and at night by programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

_HOURS = (0.02, 0, 0, 0, 0, 0.02, 0.05, 0.3, 0.8, 1, 1, 0.8, 0.5, 0.9, 1, 0.9, 0.7, 0.4)
_EVENING = (0.15, 0.1, 0.08, 0.05, 0.05, 0.03)
_SHARES = (*_HOURS, *_EVENING)
"""The share of the rate in each hour of a working day."""

_WEEKEND = 0.05
_SATURDAY = 5
_NIGHTLY = 2


@dataclass(frozen=True, kw_only=True)
class Week:
    """A number of days that end at a time.

    Attributes:
        until: the end, aware.
        days: the number of days.
        rate: the scenes in the busiest hour.
    """

    until: datetime
    days: int
    rate: int

    @property
    def since(self) -> datetime:
        """The beginning."""
        return self.until - timedelta(days=self.days)

    def hours(self) -> list[datetime]:
        """Return the beginnings of the hours."""
        return [self.since + timedelta(hours=number) for number in range(24 * self.days)]

    def moments(self, random: Random) -> Iterator[tuple[datetime, bool]]:
        """Yield the times of the scenes, in order, and whether it is the nightly job."""
        for hour in self.hours():
            if hour.hour == _NIGHTLY:
                yield hour, True
            seconds = sorted(random.uniform(0, 3600) for _ in range(self._scenes(hour, random)))
            for second in seconds:
                yield hour + timedelta(seconds=second), False

    def _scenes(self, hour: datetime, random: Random) -> int:
        share = _SHARES[hour.hour] * (_WEEKEND if hour.weekday() >= _SATURDAY else 1)
        expected = self.rate * share * random.uniform(0.7, 1.0)
        return int(expected) + (random.random() < expected % 1)
