"""Figures, beside a floor that was measured in the same minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure: so many a second, and the floor beside it.

    Attributes:
        cpu_micros: the CPU time of this process for each of them.
        floor_cpu_micros: that of the floor, if the two are compared by their CPU time: the other
            programs of a busy machine change it much less than the time that passes.
    """

    name: str
    database: str
    per_second: float
    floor: str
    floor_per_second: float
    goal: str
    reached: bool
    cpu_micros: float | None = None
    floor_cpu_micros: float | None = None
    note: str = ""

    def line(self) -> str:
        """For people."""
        ratio = self.per_second / self.floor_per_second
        return (
            f"{self.name:10} {self.database:10} {self.per_second:10,.0f} /s   {ratio:6.0%} of "
            f"{self.floor_per_second:10,.0f} /s ({self.floor}); goal {self.goal}: "
            f"{'reached' if self.reached else 'MISSED'}{self._cpu()}{self.note}"
        )

    def _cpu(self) -> str:
        if self.cpu_micros is None:
            return ""
        own = f"; {self.cpu_micros:.1f} µs of CPU time each"
        if self.floor_cpu_micros is None:
            return own
        ratio = self.floor_cpu_micros / self.cpu_micros
        return f"{own}, {ratio:.0%} of the rate of the floor's {self.floor_cpu_micros:.1f} µs"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Return the rate per second, and the microseconds of this process for each."""

    per_second: float
    cpu_micros: float


def rate(count: int, work: Callable[[], object], tries: int = TRIES) -> Rate:
    """The best of some tries: others use this machine too."""
    return rates(count, work, tries=tries)[0]


def rates(count: int, *works: Callable[[], object], tries: int = TRIES) -> list[Rate]:
    """The best of some tries of each, one after the other in turn: a bad moment meets them all."""
    tried: list[list[tuple[float, float]]] = [[] for _ in works]
    for _ in range(tries):
        for work, times in zip(works, tried, strict=True):
            began, began_cpu = time.perf_counter(), time.process_time()
            work()
            times.append((time.perf_counter() - began, time.process_time() - began_cpu))
    best = [(min(wall for wall, _ in times), min(cpu for _, cpu in times)) for times in tried]
    return [Rate(per_second=count / wall, cpu_micros=cpu / count * 1e6) for wall, cpu in best]
