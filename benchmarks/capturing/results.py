"""Measurements: medians, and their ratios."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

MIB = 1024 * 1024

_T = TypeVar("_T")


@dataclass(kw_only=True)
class Measured:
    """One subject's runs of one workload on one database.

    Attributes:
        seconds: of each round.
        cpu: those in which the subject's process used a CPU.
        written: rows that were written in a run.
        captured: rows in the subject's trail after the last run that were not there before.
    """

    database: str
    workload: str
    subject: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    written: int = 0
    captured: int = 0

    @property
    def median(self) -> float:
        """Half of the runs took less."""
        return median(self.seconds)

    @property
    def median_cpu(self) -> float:
        """Half of the runs used a CPU for less."""
        return median(self.cpu)


@dataclass(kw_only=True)
class Memory:
    """One subject's peak memory in the bulk update on one database, in bytes."""

    database: str
    subject: str
    peaks: list[int] = field(default_factory=list)
    growths: list[int] = field(default_factory=list)

    @property
    def peak(self) -> float:
        """The median of its processes' peaks."""
        return median(self.peaks)

    @property
    def growth(self) -> float:
        """Growth of the peak by the update itself."""
        return median(self.growths)


@dataclass(kw_only=True)
class Results:
    """Everything that one run of the benchmark has measured."""

    measured: list[Measured] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    def of(self, database: str, workload: str, subject: str) -> Measured | None:
        """Return the measurements of a subject; None if it was not run."""
        wanted = (database, workload, subject)
        return _first(self.measured, lambda m: (m.database, m.workload, m.subject) == wanted)

    def memory_of(self, database: str, subject: str) -> Memory | None:
        """The memory of a subject; None where it was not run."""
        return _first(self.memory, lambda m: (m.database, m.subject) == (database, subject))

    def ratio(self, measured: Measured, subject: str) -> float | None:
        """Return the ratio of the medians to those of another subject."""
        other = self.of(measured.database, measured.workload, subject)
        return measured.median / other.median if other else None

    def cpu_ratio(self, measured: Measured, subject: str) -> float | None:
        """Return the ratio of the CPU times of the two processes."""
        other = self.of(measured.database, measured.workload, subject)
        return measured.median_cpu / other.median_cpu if other else None


def _first(found: list[_T], fits: Callable[[_T], bool]) -> _T | None:
    return next((one for one in found if fits(one)), None)
