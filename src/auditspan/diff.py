"""The changes of one record: old and new values by column."""

from __future__ import annotations

import json
from collections.abc import Mapping

from auditspan.canonical import Json

Changes = dict[str, dict[str, Json]]
"""``{"full_name": {"old": "Kim", "new": "Kim Park"}}``; a create has no old, a delete no new."""


def created(new: Mapping[str, Json]) -> Changes:
    """Every audited column with its first value."""
    return {name: {"new": value} for name, value in new.items()}


def deleted(old: Mapping[str, Json]) -> Changes:
    """Every audited column with its last value."""
    return {name: {"old": value} for name, value in old.items()}


def updated(old: Mapping[str, Json], new: Mapping[str, Json]) -> Changes:
    """The columns of `new` whose value differs from that in `old`."""
    return {
        name: {"old": old.get(name), "new": value}
        for name, value in new.items()
        if name not in old or not _is_same(old[name], value)
    }


def _is_same(old: Json, new: Json) -> bool:
    """Equal as JSON; in Python 1 equals True, also inside containers."""
    if isinstance(old, list | dict) or isinstance(new, list | dict):
        return old == new and json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    return type(old) is type(new) and old == new
