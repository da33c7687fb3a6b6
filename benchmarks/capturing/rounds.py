"""Order of the runs: rounds in which all subjects run each workload one after the other.

So a machine that is busy for a while is busy for all of them. The first of them is another one in
every round. Before the rounds everyone runs everything once on fewer rows, which is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from capturing.databases import Server, make_floor_table
from capturing.remote import Remote
from capturing.report import progress
from capturing.results import Measured, Memory, Results
from capturing.subjects import AUDITSPAN, FLOOR
from capturing.workloads import BULK, WORKLOADS

_BODY_SIZE = 700
"""Characters in a row of the floor where auditspan does not run, whose rows would tell."""
_WARM_UP = 10
"""How many times fewer rows the run before the rounds has."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of the measurements on one database."""

    database: str
    server: Server
    subjects: Sequence[str]
    workloads: Sequence[str]
    rounds: int


def measure(plan: Plan, results: Results) -> None:
    """Run the rounds, and then the processes whose memory is looked at."""
    with ExitStack() as stack:
        remotes = {s: stack.enter_context(closing(_remote(plan, s))) for s in plan.subjects}
        sizes = _warm_up(plan, remotes)
        for number in range(plan.rounds):
            progress(f"{plan.database}: round {number + 1} of {plan.rounds}")
            for workload in plan.workloads:
                for subject in _rotated(plan.subjects, number):
                    _one(plan, results, remotes[subject], (workload, subject, sizes[workload]))
    if BULK in plan.workloads:
        _measure_memory(plan, results)


def _warm_up(plan: Plan, remotes: dict[str, Remote]) -> dict[str, int]:
    """Run everything once; returns the length of auditspan's bodies in each workload."""
    progress(f"{plan.database}: warming up")
    sizes = dict.fromkeys(plan.workloads, _BODY_SIZE)
    for workload in plan.workloads:
        size = WORKLOADS[workload].size // _WARM_UP
        for subject in sorted(plan.subjects, key=lambda subject: subject != AUDITSPAN):
            answer = remotes[subject].ask(
                workload=workload,
                size=size,
                memory=False,
                body_size=sizes[workload],
                wants_body=subject == AUDITSPAN,
            )
            sizes[workload] = int(answer.get("body_size", sizes[workload]))
    return sizes


def _one(plan: Plan, results: Results, remote: Remote, what: tuple[str, str, int]) -> None:
    workload, subject, body_size = what
    size = WORKLOADS[workload].size
    answer = remote.ask(workload=workload, size=size, memory=False, body_size=body_size)
    found = results.of(plan.database, workload, subject)
    if found is None:
        found = Measured(database=plan.database, workload=workload, subject=subject, written=size)
        results.measured.append(found)
    found.seconds.append(answer["seconds"])
    found.cpu.append(answer["cpu"])
    found.captured = int(answer["captured"])


def _measure_memory(plan: Plan, results: Results) -> None:
    for subject in plan.subjects:
        progress(f"{plan.database}: memory of {subject}")
        found = Memory(database=plan.database, subject=subject)
        results.memory.append(found)
        for _ in range(plan.rounds):
            with closing(_remote(plan, subject)) as remote:
                answer = remote.ask(memory=True, size=WORKLOADS[BULK].size, body_size=_BODY_SIZE)
            found.peaks.append(int(answer["peak"]))
            found.growths.append(int(answer["peak"] - answer["before"]))


def _remote(plan: Plan, subject: str) -> Remote:
    url = plan.server.new()
    if subject == FLOOR:
        make_floor_table(url)
    return Remote(subject, url)


def _rotated(subjects: Sequence[str], number: int) -> Iterator[str]:
    start = number % len(subjects)
    yield from (*subjects[start:], *subjects[:start])
