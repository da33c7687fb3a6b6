"""Report of the state check."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from auditspan.reading.replay import NOTICES, Difference, Kind


@dataclass(frozen=True, kw_only=True)
class StateReport:
    """The result of `check_state`.

    Attributes:
        events: the number of events that created, changed or deleted an object.
        objects: the number of live rows that were compared.
        differences: all differences, notices included, in the order in which they were found.
    """

    events: int
    objects: int
    differences: list[Difference]

    @property
    def ok(self) -> bool:
        """True if there was something to compare, and the tables match the trail."""
        return self.events > 0 and all(one.kind in NOTICES for one in self.differences)

    def counts(self) -> dict[Kind, int]:
        """Return the number of differences of each kind."""
        return dict(Counter(one.kind for one in self.differences))

    def to_dict(self) -> dict[str, Any]:
        """Return the fixed JSON form."""
        return {
            "ok": self.ok,
            "objects": self.objects,
            "differences": [asdict(one) for one in self.differences],
        }
