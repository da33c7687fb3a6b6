"""The goals for the service, checked against medians."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from serving.measurements import MANY, Case, Results

OF_EXEMPT, OF_BARE, OF_ONE_PROCESS, OF_MEDIAN = 0.85, 0.60, 1.6, 3.0


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal, and the ratio that was measured."""

    claim: str
    measured: float
    is_met: bool


def goals(results: Results) -> Iterator[Goal]:
    """Yield every goal that these results say something about."""
    for case in results.cases:
        yield from _against(results, case, "exempt", OF_EXEMPT)
        yield from _against(results, case, "bare", OF_BARE)
        if case.clients == MANY:
            yield from _scaling(results, case)
            yield from _tail(results, case)


def _against(results: Results, case: Case, other: str, least: float) -> Iterator[Goal]:
    ratio = results.ratio(case, "audited", other)
    if ratio is not None:
        claim = f"{case}: at least {least:.0%} of the requests/s of {other}"
        yield Goal(claim=claim, measured=ratio, is_met=ratio >= least)


def _scaling(results: Results, case: Case) -> Iterator[Goal]:
    one = results.median(case.with_processes(1), "audited")
    two = results.median(case, "audited")
    if case.processes > 1 and one and two:
        ratio = two.per_second / one.per_second
        claim = f"{case}: at least {OF_ONE_PROCESS} times the requests/s of one process"
        yield Goal(claim=claim, measured=ratio, is_met=ratio >= OF_ONE_PROCESS)


def _tail(results: Results, case: Case) -> Iterator[Goal]:
    found = results.median(case, "audited")
    if found:
        ratio = found.p99 / found.median
        claim = f"{case}: p99 at most {OF_MEDIAN:.0f} times the median"
        yield Goal(claim=claim, measured=ratio, is_met=ratio <= OF_MEDIAN)
