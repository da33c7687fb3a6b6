"""One event of the trail, as an application reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from auditspan.errors import AuditBodyError
from auditspan.format import Actor, Json, Request, Service, Target

Change: TypeAlias = Mapping[str, Json]
"""The sides of one changed value: `old`, `new` or both, in the form of the body."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of the trail.

    The members have the names and the meaning of the body (docs/reference/format.md).

    Attributes:
        changes: by column, `{"old": ..., "new": ...}`; a creation has only `new`, a deletion only
            `old`.
        seq: the place in the sealed sequence; None until the event is sealed.
        delivered: whether a sink has acknowledged the event.
        unreadable: None; else the reason why the body cannot be read. The other members are then
            those of the plain columns, which may be changed as well: run `auditspan verify`.
    """

    event_id: str
    action: str
    actor: Actor
    outcome: str
    tx_id: str
    on_behalf_of: Actor | None = None
    target: Target | None = None
    reason: str | None = None
    changes: Mapping[str, Change]
    metadata: Mapping[str, Json]
    request: Request | None = None
    service: Service | None = None
    tenant: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    change_id: int | None = None
    seq: int | None = None
    delivered: bool = False
    unreadable: str | None = None
    occurred_text: str
    recorded_text: str

    @property
    def occurred_at(self) -> datetime:
        """The time of the change, in UTC.

        Raises:
            AuditBodyError: the row was changed so that it holds no time.
        """
        return _time(self.occurred_text)

    @property
    def recorded_at(self) -> datetime:
        """The time of the row by the clock of the database, in UTC.

        Raises:
            AuditBodyError: the row was changed so that it holds no time.
        """
        return _time(self.recorded_text)

    @property
    def old(self) -> dict[str, Json]:
        """The values before the change, by column; empty for a creation."""
        return {name: sides["old"] for name, sides in self.changes.items() if "old" in sides}

    @property
    def new(self) -> dict[str, Json]:
        """The values after the change, by column; empty for a deletion."""
        return {name: sides["new"] for name, sides in self.changes.items() if "new" in sides}

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Event:
        """Make an event of the resource that the API shows, as `StoredEvent.resource` makes it."""
        own = dict(resource)
        own.pop("v", None)
        parts = {
            "actor": Actor,
            "on_behalf_of": Actor,
            "target": Target,
            "request": Request,
            "service": Service,
        }
        for name, part in parts.items():
            own[name] = _part(part, own[name])
        own["occurred_text"] = str(own.pop("occurred_at"))
        own["recorded_text"] = str(own.pop("recorded_at"))
        return cls(**own)


def _part(part: Callable[..., object], members: Mapping[str, Any] | None) -> object:
    """Make one part; None where it is absent, also the service of a body that cannot be read."""
    if members is None or members.get("name", "") is None:
        return None
    return part(**members)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise AuditBodyError(
            f"invalid time {text!r} in the row of an event: it was changed; run `auditspan verify`"
        ) from error
