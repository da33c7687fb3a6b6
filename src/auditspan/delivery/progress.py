"""Progress of one relay: its cursors and recent acknowledgements."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from auditspan.delivery.cursors import NOTHING, Cursors

SAFE_AFTER = 5.0
"""Seconds after which an acknowledged record is believed to be on the sink's disk."""

SAVED_EVERY = 0.25
"""Seconds between two commits of the cursors while batches are being sent."""

FIRST_REPEATED = 128
"""Unconfirmed rows that a relay sends again before it has confirmed any."""


@dataclass(kw_only=True)
class Unconfirmed:
    """Rows that earlier relays sent but could not confirm before they ended.

    A relay confirms a row when `SAFE_AFTER` seconds have passed since the acknowledgement without
    a transport error. A crash of the sink between two relays is seen by neither, so a relay cannot
    confirm what another one sent: it sends those rows again. It sends at most `FIRST_REPEATED` of
    them, and then two for each row that it has confirmed, so relays that crash within seconds send
    few copies.

    Attributes:
        first: the safe cursor at which the relay started.
        last: the last of the rows.
        repeated: the last row that was sent again.
        fresh: acknowledgements of copies that are too recent to confirm the rows.
    """

    first: int = NOTHING
    last: int = NOTHING
    repeated: int = NOTHING
    fresh: deque[tuple[float, int]] = field(default_factory=deque)

    @classmethod
    def between(cls, safe: int, sent: int) -> Unconfirmed:
        """Create the state for the rows after the safe cursor up to the last one sent."""
        return cls(first=safe, last=sent, repeated=safe)

    def due(self, safe: int) -> int:
        """Return the number of rows that may be sent again now, with this safe cursor."""
        ahead = max(FIRST_REPEATED, 2 * (safe - self.first))
        return max(0, min(self.last, safe + ahead) - self.repeated)


@dataclass(kw_only=True)
class Progress:
    """The cursors, and the acknowledgements that are still too recent to be safe.

    `saved` holds the cursors in the database, stored at `saved_at`; a checkpoint was last sent at
    `witnessed_at`.
    """

    cursors: Cursors
    saved: Cursors
    saved_at: float
    witnessed_at: float
    fresh: deque[tuple[float, int]] = field(default_factory=deque)
    unconfirmed: Unconfirmed = field(default_factory=Unconfirmed)

    @classmethod
    def begun(cls, cursors: Cursors, now: float) -> Progress:
        """Create the progress of a relay that starts at these cursors; its first batch is saved."""
        return cls(
            cursors=cursors,
            saved=cursors,
            saved_at=now - SAVED_EVERY,
            witnessed_at=now,
            unconfirmed=Unconfirmed.between(cursors.safe, cursors.sent),
        )

    @property
    def repeatable(self) -> int:
        """The number of unconfirmed rows that may be sent again now."""
        return self.unconfirmed.due(self.cursors.safe)

    def acknowledged(self, seq: int, now: float) -> None:
        """Note that the sink has the rows up to this one."""
        self.cursors = Cursors(sent=seq, safe=self.cursors.safe)
        self.fresh.append((now, seq))

    def repeated(self, seq: int, now: float) -> None:
        """Note that the sink has the unconfirmed rows up to this one a second time."""
        self.unconfirmed.repeated = min(seq, self.unconfirmed.last)
        self.unconfirmed.fresh.append((now, self.unconfirmed.repeated))

    def settle(self, now: float) -> None:
        """Move the safe cursor past rows that were acknowledged long enough ago."""
        safe = _settled(self.unconfirmed.fresh, now, self.cursors.safe)
        if safe >= self.unconfirmed.last:
            safe = _settled(self.fresh, now, safe)
        self.cursors = Cursors(sent=self.cursors.sent, safe=safe)

    def is_due(self, now: float, *, is_busy: bool) -> bool:
        """Return whether the cursors are due to be saved."""
        is_early = is_busy and now < self.saved_at + SAVED_EVERY
        return self.cursors != self.saved and not is_early

    def limit_to(self, newest: int) -> None:
        """Move back before rows that were removed, because others may get their numbers."""
        self.cursors = self.cursors.within(newest)
        self.fresh.clear()
        self.unconfirmed = Unconfirmed.between(self.cursors.safe, self.cursors.sent)

    def rewind(self) -> None:
        """Move back to the safe cursor."""
        self.cursors = Cursors(sent=self.cursors.safe, safe=self.cursors.safe)
        self.fresh.clear()
        self.unconfirmed = Unconfirmed.between(self.cursors.safe, self.cursors.sent)


def _settled(fresh: deque[tuple[float, int]], now: float, safe: int) -> int:
    """Remove acknowledgements that are old enough; return the last, or else the safe cursor."""
    while fresh and fresh[0][0] <= now - SAFE_AFTER:
        safe = fresh.popleft()[1]
    return safe
