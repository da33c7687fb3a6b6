"""The progress of one relay: its cursors, and which acknowledgements are recent."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from auditspan.delivery import Cursors

SAFE_AFTER = 5.0
"""Seconds after which an acknowledged record is believed to be on the sink's disk."""

SAVED_EVERY = 0.25
"""Seconds between two commits of the cursors while batch follows batch."""


@dataclass(kw_only=True)
class Progress:
    """The cursors, and which acknowledgements are still too fresh to be safe.

    `saved` are the cursors as the database has them, since `saved_at`; `witnessed_at` is when a
    checkpoint was sent last.
    """

    cursors: Cursors
    saved: Cursors
    saved_at: float
    witnessed_at: float
    fresh: deque[tuple[float, int]] = field(default_factory=deque)

    def acknowledged(self, seq: int, now: float) -> None:
        """Note that the sink has the rows up to this one."""
        self.cursors = Cursors(sent=seq, safe=self.cursors.safe)
        self.fresh.append((now, seq))

    def settle(self, now: float) -> None:
        """Move the safe cursor over what was acknowledged long enough ago."""
        safe = self.cursors.safe
        while self.fresh and self.fresh[0][0] <= now - SAFE_AFTER:
            safe = self.fresh.popleft()[1]
        self.cursors = Cursors(sent=self.cursors.sent, safe=safe)

    def is_due(self, now: float, *, is_busy: bool) -> bool:
        """Whether the database is to know how far it has come."""
        is_early = is_busy and now < self.saved_at + SAVED_EVERY
        return self.cursors != self.saved and not is_early

    def keep_within(self, newest: int) -> None:
        """Go back from rows that have been taken away: others have their numbers now."""
        self.cursors = self.cursors.within(newest)
        self.fresh.clear()

    def rewind(self) -> None:
        """Go back to what is safe."""
        self.cursors = Cursors(sent=self.cursors.safe, safe=self.cursors.safe)
        self.fresh.clear()
