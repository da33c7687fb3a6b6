"""The changes of one record: old and new values by column."""

from __future__ import annotations

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
        if name not in old or old[name] != value
    }
