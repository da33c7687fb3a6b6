"""The state check: does replaying the trail give the live tables?

`chronology` reads the trail in the order of the changes, `replay` makes every object from its
`events`, `objects` keeps them, `objecttypes` says where they live, `live` compares by `agreement`,
`report` has what was found.
"""

from __future__ import annotations

from auditspan.verify.state.check import check_state
from auditspan.verify.state.report import NOTICES, Difference, Kind, StateReport

__all__ = ["NOTICES", "Difference", "Kind", "StateReport", "check_state"]
