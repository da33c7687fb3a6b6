"""Replay of a trail: the state of every object, as its events describe it.

`replay` rebuilds objects from their `events` in an `object_store`. `object_types` maps them to
tables, whose live rows `image_value` reads in the recorded form. `equality` compares two forms of a
value, and `difference` describes a mismatch.
"""

from __future__ import annotations

from auditspan.reading.replay.difference import NOTICES, Difference, Kind, shown
from auditspan.reading.replay.equality import Agreement, is_digest, is_stand_in, with_key_id
from auditspan.reading.replay.events import Event, link_key, link_place
from auditspan.reading.replay.image_value import as_images, pin_settings, stored_forms
from auditspan.reading.replay.object_store import Fields, ObjectStore
from auditspan.reading.replay.object_types import (
    ObjectType,
    core_type,
    is_zoned,
    links,
    mapped_type,
    mappers,
    object_types,
    table_name,
)
from auditspan.reading.replay.replay import PARTIAL, Replay
from auditspan.reading.replay.temporary_file import explained, open_temporary_file

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
    "Replay",
    "as_images",
    "core_type",
    "explained",
    "is_digest",
    "is_stand_in",
    "is_zoned",
    "link_key",
    "link_place",
    "links",
    "mapped_type",
    "mappers",
    "object_types",
    "open_temporary_file",
    "pin_settings",
    "shown",
    "stored_forms",
    "table_name",
    "with_key_id",
]
