"""Event as it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from auditspan.errors import AuditBodyError
from auditspan.format import (
    COLUMNS,
    MEMBERS,
    Json,
    Values,
    may_have_commitments,
    read_event,
    with_values,
)


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """Row of the trail, with its sequence number and delivery state.

    Attributes:
        body: the stored text, which may be anything after tampering.
        recorded_at: the time as text, in the format of the body.
        columns: the plain columns, in the order of `COLUMNS`.
        mac: the stored MAC; None for a row without one.
        disclosures: the disclosures of erasable values by commitment; None for one that cannot be
            read, and none for an erased value.
    """

    row_id: int
    body: str
    recorded_at: str
    columns: Values
    seq: int | None
    delivered: bool
    mac: str | None
    disclosures: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def event_id(self) -> str | None:
        """The event id in the plain column."""
        return self.columns[COLUMNS.index("event_id")]

    @property
    def tenant(self) -> str | None:
        """The tenant in the plain column."""
        return dict(zip(COLUMNS, self.columns, strict=True))["tenant"]

    def change_id(self) -> int | None:
        """Return the change id in the body; None if there is none or the body is not an event."""
        try:
            found: int | None = read_event(self.body).get("change_id")
        except AuditBodyError:
            return None
        return found

    def members(self) -> dict[str, Any]:
        """Return the members of the body, with the erasable values that are not erased.

        Raises:
            AuditBodyError: the body is not a valid event.
        """
        members = read_event(self.body)
        has_commitments = may_have_commitments(self.body)
        return with_values(members, self.disclosures) if has_commitments else members

    def resource(self) -> dict[str, Json]:
        """Return the event resource: the body's members, `seq`, `recorded_at` and `delivered`.

        If the body is not a valid event, the members are taken from the plain columns, and
        `unreadable` contains the reason.
        """
        try:
            members = self.members()
        except AuditBodyError as error:
            members = _from_columns(self.columns) | {"unreadable": error.message}
        return {
            **members,
            "seq": self.seq,
            "recorded_at": self.recorded_at,
            "delivered": self.delivered,
        }


def is_creation(event: StoredEvent) -> bool:
    """Return whether the event creates its object, so that no earlier one can be missing."""
    action = dict(zip(COLUMNS, event.columns, strict=True))["action"]
    return bool(action and action.endswith(".create"))


def _from_columns(columns: Values) -> dict[str, Any]:
    """Return the members that are in the plain columns; the others are null or empty."""
    members = dict(zip(COLUMNS, columns, strict=True))
    actor = {"type": members.pop("actor_type"), "id": members.pop("actor_id"), "label": None}
    target = {"type": members.pop("target_type"), "id": members.pop("target_id"), "version": None}
    return {
        **dict.fromkeys(MEMBERS),
        **members,
        "actor": actor,
        "target": None if target["type"] is None else target,
        "service": dict.fromkeys(("name", "version", "instance")),
        "changes": {},
        "metadata": {},
    }
