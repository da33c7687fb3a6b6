"""Measurements of the subjects, round by round, and their medians."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from serving.clients import Operation, load
from serving.subjects import Subject

MANY = 64
"""The clients of the cases with many of them."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of load."""

    operation: Operation
    clients: int
    processes: int

    def __str__(self) -> str:
        """Return it in words."""
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        return f"{self.operation}, {clients}, {self.processes} process(es)"

    def with_processes(self, processes: int) -> Case:
        """Return the same load on another number of processes."""
        return replace(self, processes=processes)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured; `cpu` is the server's CPU time for one request, in milliseconds."""

    per_second: float
    median: float
    p99: float
    cpu: float


@dataclass(kw_only=True)
class Results:
    """All measurements, by case and subject."""

    cases: Sequence[Case]
    found: dict[tuple[Case, str], list[Measured]] = field(
        default_factory=lambda: defaultdict(list), init=False
    )

    def median(self, case: Case, subject: str) -> Measured | None:
        """Return the medians of a subject; None if it was not measured."""
        runs = self.found.get((case, subject))
        if not runs:
            return None
        return Measured(
            per_second=statistics.median(run.per_second for run in runs),
            median=statistics.median(run.median for run in runs),
            p99=statistics.median(run.p99 for run in runs),
            cpu=statistics.median(run.cpu for run in runs),
        )

    def ratio(self, case: Case, subject: str, other: str) -> float | None:
        """Return the median, over the rounds, of one subject's requests/s through another's.

        In a round both are measured one after the other, so that a slow moment affects both.
        """
        pairs = zip(
            self.found.get((case, subject), ()), self.found.get((case, other), ()), strict=True
        )
        ratios = [one.per_second / two.per_second for one, two in pairs]
        return statistics.median(ratios) if ratios else None


def measure(
    everyone: Sequence[Subject],
    cases: Sequence[Case],
    *,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> Results:
    """Measure every subject in every case, in turn, and begin each round with another one."""
    results = Results(cases=cases)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for place, case in enumerate(cases):
            first = (number + place) % len(everyone)
            for subject in [*everyone[first:], *everyone[:first]]:
                results.found[case, subject.name].append(_measured(subject, case, seconds))
    return results


def _measured(subject: Subject, case: Case, seconds: float) -> Measured:
    port = subject.ports[case.processes]
    load(port, subject.key, case.operation, case.clients, seconds / 5)  # warms up
    subject.drain()
    before = subject.cpu(case.processes)
    found = load(port, subject.key, case.operation, case.clients, seconds)
    cpu = subject.cpu(case.processes) - before
    subject.drain()
    requests = found.per_second * seconds + case.clients  # each client adds its user first
    return Measured(
        per_second=found.per_second,
        median=found.median,
        p99=found.p99,
        cpu=1000 * cpu / requests,
    )
