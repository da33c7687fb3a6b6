"""Backoff between attempts after failures."""

from __future__ import annotations

import random
from dataclasses import dataclass

LONGEST_ASKED = 300.0
"""Seconds that a sink may ask the relay to wait; a longer `Retry-After` is capped at this."""


@dataclass(kw_only=True)
class Backoff:
    """Waiting times after failures: doubling from `first` to `longest` seconds, with jitter."""

    first: float = 0.1
    longest: float = 5.0
    failures: int = 0

    def next(self, asked: float | None = None) -> float:
        """Return the seconds to wait: at least as long as the sink asks, up to `LONGEST_ASKED`."""
        whole = min(self.longest, self.first * float(2 ** min(self.failures, 16)))
        self.failures += 1
        jittered = whole * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
        return max(jittered, min(asked or 0.0, LONGEST_ASKED))  # jittered first: NaN loses

    def reset(self) -> None:
        """Start again from the first waiting time, after a success."""
        self.failures = 0
