"""The state check: comparison of a replay of the trail with the live tables.

`chronology` reads the trail in the order of the changes, `replay` rebuilds every object from its
`events`, `object_store` keeps the objects, `object_types` maps them to tables, `comparison`
compares them by `equality`, and `report` holds the differences.
"""

from __future__ import annotations

from auditspan.verify.state.check import Progress, check_state
from auditspan.verify.state.equality import Agreement, with_key_id
from auditspan.verify.state.events import Event
from auditspan.verify.state.image_value import as_images, pin_settings, stored_forms
from auditspan.verify.state.object_store import Fields, ObjectStore
from auditspan.verify.state.object_types import (
    ObjectType,
    core_type,
    is_zoned,
    links,
    mapped_type,
    object_types,
)
from auditspan.verify.state.replay import PARTIAL, Replay
from auditspan.verify.state.report import NOTICES, Difference, Kind, StateReport

__all__ = [
    "NOTICES",
    "PARTIAL",
    "Agreement",
    "Difference",
    "Event",
    "Fields",
    "Kind",
    "ObjectStore",
    "ObjectType",
    "Progress",
    "Replay",
    "StateReport",
    "as_images",
    "check_state",
    "core_type",
    "is_zoned",
    "links",
    "mapped_type",
    "object_types",
    "pin_settings",
    "stored_forms",
    "with_key_id",
]
