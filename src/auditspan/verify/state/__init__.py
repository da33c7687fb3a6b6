"""The state check: comparison of a replay of the trail with the live tables.

`chronology` reads the trail in the order of the changes, `replay` rebuilds every object from its
`events`, `object_store` keeps the objects, `object_types` maps them to tables, `comparison`
compares them by `equality`, and `report` holds the differences.
"""

from __future__ import annotations

from auditspan.verify.state.check import check_state
from auditspan.verify.state.report import NOTICES, Difference, Kind, StateReport

__all__ = ["NOTICES", "Difference", "Kind", "StateReport", "check_state"]
