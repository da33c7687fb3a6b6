"""Two queues in a row, as the sealer and the relay empty them: a simulation, no database.

Rows arrive at random (exponential gaps), and each stage takes what waits, at most one batch, for as
long as its rate says; it looks again after a pause when nothing waits. Stages do not slow each
other down: on a machine where they share cores, that is too kind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One worker.

    Attributes:
        name: what it does.
        batch: rows that it takes at once.
        per_second: rows that it does in a second when it has enough of them.
        pause: seconds until it looks again when there was nothing.
    """

    name: str
    batch: int
    per_second: float
    pause: float


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """Outcome of a simulation.

    Attributes:
        waiting: rows that each stage had not done at the end.
        delays: seconds from arrival to the end of the last stage, of the rows that got there.
    """

    waiting: tuple[int, ...]
    delays: tuple[float, ...]

    def lag(self) -> str:
        """The 99th percentile, or that there is none because the queues only grow."""
        if any(self.waiting) and max(self.waiting) > 0.1 * len(self.delays):
            return "grows without end"
        return f"{sorted(self.delays)[int(0.99 * len(self.delays))]:.2f} s"


def simulate(
    arrivals: float, stages: Sequence[Stage], *, seconds: float, seed: int = 1
) -> Simulated:
    """Let rows come for some seconds, at `arrivals` a second on average."""
    source = random.Random(seed)  # noqa: S311 (no secret)
    came: list[float] = []
    moment = 0.0
    while (moment := moment + source.expovariate(arrivals)) < seconds:
        came.append(moment)
    left, waiting = came, []
    for stage in stages:
        left = _pass(left, stage, seconds)
        waiting.append(len(came) - len(left))
    delays = tuple(done - begun for done, begun in zip(left, came, strict=False))
    return Simulated(waiting=tuple(waiting), delays=delays)


def _pass(arrivals: Sequence[float], stage: Stage, seconds: float) -> list[float]:
    """Return the time at which each row leaves a stage, if it does in time; order is kept."""
    now, done = 0.0, 0
    left: list[float] = []
    while now < seconds:
        ready = done
        while ready < len(arrivals) and ready - done < stage.batch and arrivals[ready] <= now:
            ready += 1
        if ready == done:
            now += stage.pause
            continue
        now += (ready - done) / stage.per_second
        left += [now] * (ready - done)
        done = ready
    return [moment for moment in left if moment <= seconds]
