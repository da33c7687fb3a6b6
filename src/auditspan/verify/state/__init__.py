"""The state check: comparison of a replay of the trail with the live tables.

`chronology` reads the trail in the order of the changes for the `replay`, `comparison` compares its
objects with the tables, and `report` holds the differences.
"""

from __future__ import annotations

from auditspan.reading.replay import NOTICES, Difference, Kind
from auditspan.verify.state.check import check_state
from auditspan.verify.state.chronology import ChangeId
from auditspan.verify.state.report import StateReport

__all__ = ["NOTICES", "ChangeId", "Difference", "Kind", "StateReport", "check_state"]
