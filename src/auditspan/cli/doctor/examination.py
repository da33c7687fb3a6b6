"""The findings of `auditspan doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from auditspan.cli.doctor.models import ModelReview
from auditspan.cli.doctor.raw_writes import RawWrites
from auditspan.storage.locks import StoredLease


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Problem of the set-up.

    Attributes:
        kind: the subject of the problem.
        detail: the problem and its remedy, in sentences.
    """

    kind: str
    detail: str


@dataclass(kw_only=True)
class Examination:
    """Problems found, and checks that could not be made.

    Attributes:
        found: the problems.
        unchecked: one sentence for each check that could not be made.
        writes_events: whether this process may write audit rows, as far as known.
        writes_seals: whether this process may seal rows.
        workers: the leases that workers hold.
        notes: consequences of deliberate settings, in sentences.
        models: the models of an application.
        raw_writes: writes that the trail does not record, or that have no actor.
        sinks: the backlog of each sink as in `/readyz`, by its name.
        is_embedded: whether the database is a SQLite file.
        has_mac_key: whether the application provides its MAC key itself.
        hint: an addition to the finding that the collector does not answer.
    """

    found: list[Diagnosis] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    writes_events: bool = True
    writes_seals: bool = True
    workers: list[StoredLease] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    models: list[ModelReview] = field(default_factory=list)
    raw_writes: list[RawWrites] = field(default_factory=list)
    sinks: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_embedded: bool = False
    has_mac_key: bool = False
    hint: str = ""

    @property
    def ok(self) -> bool:
        """True if every check was made and no problem was found."""
        return not (self.found or self.unchecked)

    def add(self, kind: str, detail: str) -> None:
        """Add a problem."""
        self.found.append(Diagnosis(kind=kind, detail=detail))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        found = [{"kind": one.kind, "detail": one.detail} for one in self.found]
        return {
            "ok": self.ok,
            "findings": found,
            "unchecked": self.unchecked,
            "workers": [_shown(one) for one in self.workers],
            "notes": self.notes,
            "models": [asdict(one) for one in self.models],
            "raw_writes": [asdict(one) for one in self.raw_writes],
            "sinks": self.sinks,
        }


def _shown(lease: StoredLease) -> dict[str, Any]:
    return {
        "lease": lease.name,
        "holder": lease.description,
        "current": lease.is_current,
        "age_seconds": round(lease.age, 3) if isfinite(lease.age) else None,
    }
