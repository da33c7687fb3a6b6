"""State of an object at one time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from auditspan.format import Json
from auditspan.reading import Event
from auditspan.reading.states.values import Value


@dataclass(frozen=True, kw_only=True)
class State:
    """State of an object at one time, as the trail records it.

    `state["name"]` is short for `state.values["name"]`.

    Attributes:
        type: the target type of its class at that time.
        id: its target id at that time.
        values: the recorded columns, by the name in the database: Python values as a SELECT would
            give them, `Redacted` or `Digest` for a value that the trail does not have, and the
            recorded form of a value without an exact Python value, or of a column that the model no
            longer has. Excluded columns are absent.
        recorded: the same columns in their recorded form.
        links: the target ids of linked objects, sorted, by relationship.
        event: the last change of its columns.
        is_complete: whether its history begins with a creation or a baseline, and no event
            contradicts another; otherwise columns may be missing.
    """

    type: str
    id: str
    values: Mapping[str, Value]
    recorded: Mapping[str, Json]
    links: Mapping[str, tuple[str, ...]]
    event: Event
    is_complete: bool

    def __getitem__(self, name: str) -> Value:
        """Return the value of a column.

        Raises:
            KeyError: the column was not recorded, or excluded.
        """
        return self.values[name]
