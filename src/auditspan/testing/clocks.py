"""Deterministic clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock

from auditspan.errors import AuditConfigError

_NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class FixedClock:
    """A clock that stands still until it is moved. For `AuditTrail(clock=FixedClock())`.

    It sets `occurred_at`; `recorded_at` is the database's own time.

    Args:
        now: the time, aware; 2026-01-01T00:00:00Z unless another is given.

    Raises:
        AuditConfigError: the time has no time zone.
    """

    def __init__(self, now: datetime = _NEW_YEAR) -> None:
        self.now = _aware(now)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, by: timedelta) -> None:
        """Move the clock forward."""
        self.now += by


class SteppingClock:
    """A clock that advances one step at every call.

    It is called at every statement that writes. Changes of one transaction share a recorded time
    until it is more than a second old.

    Args:
        start: the first time, aware; 2026-01-01T00:00:00Z unless another is given.
        step: the size of a step; one second unless another is given.

    Raises:
        AuditConfigError: the time has no time zone.
    """

    def __init__(self, start: datetime = _NEW_YEAR, *, step: timedelta = _SECOND) -> None:
        self._next = _aware(start)
        self._step = step
        self._lock = Lock()

    def __call__(self) -> datetime:
        """Return the time, and advance it for the next call."""
        with self._lock:
            now = self._next
            self._next += self._step
            return now


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise AuditConfigError(
            "a clock's time must have a time zone: pass datetime(..., tzinfo=UTC)"
        )
    return moment
