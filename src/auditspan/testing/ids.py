"""Deterministic ids."""

from __future__ import annotations

from itertools import count

from auditspan.format import RANDOM_BYTES, uuid7

_EPOCH_MILLIS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


class SequentialIds:
    """Sequential version 7 UUIDs: ``019b76da-a800-7000-8000-000000000001``, ``…002`` and so on.

    For `AuditTrail(new_id=SequentialIds())`. Every event takes one, and so does every transaction
    (`tx_id`), before its first event. Safe to share between threads. A database rejects an event
    id that it already has: restart only on an empty database, or after a rollback.
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self) -> str:
        """Return the next id, which sorts after all earlier ones as text."""
        return self.id(next(self._numbers))

    def restart(self) -> None:
        """Restart at 1, for a trail that outlives the test."""
        self._numbers = count(1)

    @staticmethod
    def id(number: int) -> str:
        """Return the id of this number, for comparisons."""
        return uuid7(_EPOCH_MILLIS, number.to_bytes(RANDOM_BYTES, "big"))
