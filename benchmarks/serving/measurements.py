"""Measurements of the subjects, round by round, and their medians."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from serving.clients import Operation, connected, load
from serving.cpu import Cpu, median_of
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
    """One measurement; `cpu` is the CPU time for one request, in milliseconds.

    It has that of the worker and the collector until everything is delivered.
    """

    per_second: float
    median: float
    p99: float
    cpu: Cpu

    @property
    def cpus_used(self) -> float:
        """The number of CPUs that all programs kept busy."""
        return self.per_second * self.cpu.total / 1000


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
            cpu=median_of([run.cpu for run in runs], statistics.median),
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

    def cpu_ratio(self, case: Case, subject: str, other: str) -> float:
        """Return the median, over the rounds, of one subject's CPU time through another's."""
        pairs = zip(self.found[case, subject], self.found[case, other], strict=True)
        return statistics.median(one.cpu.total / two.cpu.total for one, two in pairs)


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
    port, programs = subject.ports[case.processes], subject.programs[case.processes]
    load(connected(port, subject.key, case.clients), case.operation, seconds / 5)  # warms up
    subject.drain()
    clients = connected(port, subject.key, case.clients)
    before = programs.read()
    found = load(clients, case.operation, seconds)
    subject.drain()
    return Measured(
        per_second=found.per_second,
        median=found.median,
        p99=found.p99,
        cpu=programs.read().since(before, requests=found.requests),
    )
