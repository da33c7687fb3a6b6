"""States of objects: earlier ones, and those that are restored or recorded as a baseline.

`timeline` replays the events of an object of a `family` to a `state` with Python `values`. `revert`
undoes an event by a `reversal` of columns and a `link_reversal`, which compare the `live_row`.
`baseline` records `old_rows`.
"""

from __future__ import annotations

from auditspan.reading.states.baseline import BATCH, Progress, record_baseline
from auditspan.reading.states.object_states import ObjectStates
from auditspan.reading.states.state import State
from auditspan.reading.states.timeline import When
from auditspan.reading.states.values import Digest, Erased, Redacted

__all__ = [
    "BATCH",
    "Digest",
    "Erased",
    "ObjectStates",
    "Progress",
    "Redacted",
    "State",
    "When",
    "record_baseline",
]
