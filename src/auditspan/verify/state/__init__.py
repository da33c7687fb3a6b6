"""The state check: does replaying the trail give the live tables?

`chronology` reads the trail in the order of the changes, `replay` makes every object from its
`events`, `object_store` keeps them, `object_types` says where they live, `comparison` compares them
by `equality`, `report` has what was found.
"""

from __future__ import annotations

from auditspan.verify.state.check import check_state
from auditspan.verify.state.report import NOTICES, Difference, Kind, StateReport

__all__ = ["NOTICES", "Difference", "Kind", "StateReport", "check_state"]
