"""The clock of the demo's trail."""

from __future__ import annotations

from datetime import datetime


class Clock:
    """A clock that is set for each scene."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now
