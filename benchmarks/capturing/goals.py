"""Goals of auditspan, and their verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from capturing.results import MIB, Results
from capturing.subjects import AUDITSPAN, CONTINUUM, FLOOR, HISTORY, NONE
from capturing.workloads import WORKLOADS

LEAST_OVER_PEERS = 5.0
MOST_MEMORY = 50.0
"""MiB above no audit."""

_FLUSHES = ("insert-flush", "update-flush")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal and what was measured."""

    database: str
    text: str
    measured: float
    is_met: bool


def goals(results: Results, databases: list[str]) -> list[Goal]:
    """Return every goal that has enough measurements."""
    return [
        goal
        for database in databases
        for part in (_over_floor, _over_peers, _memory)
        for goal in part(results, database)
    ]


def _over_floor(results: Results, database: str) -> Iterator[Goal]:
    for workload in WORKLOADS.values():
        ours = results.of(database, workload.name, AUDITSPAN)
        ratio = results.ratio(ours, FLOOR) if ours else None
        if ratio is not None:
            most = workload.at_most[database]
            yield Goal(
                database=database,
                text=f"{workload.title}: at most {most} times the floor",
                measured=ratio,
                is_met=ratio <= most,
            )


def _over_peers(results: Results, database: str) -> Iterator[Goal]:
    for name in _FLUSHES:
        for peer in (CONTINUUM, HISTORY):
            theirs = results.of(database, name, peer)
            ratio = results.ratio(theirs, AUDITSPAN) if theirs else None
            if ratio is not None:
                title = WORKLOADS[name].title
                yield Goal(
                    database=database,
                    text=f"{title}: {peer} takes at least {LEAST_OVER_PEERS} times as long",
                    measured=ratio,
                    is_met=ratio >= LEAST_OVER_PEERS,
                )


def _memory(results: Results, database: str) -> Iterator[Goal]:
    ours, none = (results.memory_of(database, subject) for subject in (AUDITSPAN, NONE))
    if ours and none:
        above = (ours.peak - none.peak) / MIB
        yield Goal(
            database=database,
            text=f"peak memory of the bulk update: at most {MOST_MEMORY} MiB above no audit",
            measured=above,
            is_met=above <= MOST_MEMORY,
        )
