"""How much of everything: a few minutes' worth, or with AUDITSPAN_SOAK=1 the full counts."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often what is broken.

    Attributes:
        kills: of service and worker at random instants.
        restarts: of PostgreSQL, immediately.
        collector_kills: of the collector.
        events: audit rows while the collector is away for the whole of a run.
        overtaking: rows that commit while a transaction that began before them is open.
        idle_seconds: for which a transaction stays idle.
        racing_kills: of workers that race.
        verifications: while rows are written.
    """

    kills: int
    restarts: int
    collector_kills: int
    events: int
    overtaking: int
    idle_seconds: float
    racing_kills: int
    verifications: int


QUICK = Counts(
    kills=8,
    restarts=2,
    collector_kills=3,
    events=1000,
    overtaking=1000,
    idle_seconds=8,
    racing_kills=4,
    verifications=10,
)
FULL = Counts(
    kills=100,
    restarts=10,
    collector_kills=10,
    events=10_000,
    overtaking=1000,
    idle_seconds=60,
    racing_kills=20,
    verifications=50,
)


def chosen_counts() -> Counts:
    """Those of this run."""
    return FULL if os.environ.get("AUDITSPAN_SOAK") == "1" else QUICK
