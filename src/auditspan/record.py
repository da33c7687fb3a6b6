"""The audit record: who did what to which thing, when, with what outcome (body version 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from auditspan.canonical import Json, canonical_json, timestamp
from auditspan.diff import Changes
from auditspan.errors import AuditBodyError
from auditspan.redact import MAX_VALUE_BYTES, shorten

ActorType = Literal["user", "service", "system", "anonymous", "unknown"]
Outcome = Literal["success", "failure", "unknown"]

MAX_BODY_BYTES = 64 * 1024 - 1
_LEAST_VALUE_BYTES = 128  # a digest takes about as much itself


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts. Anonymous (nobody said), system (we ourselves) and unknown are three things."""

    type: ActorType
    id: str | None = None
    label: str | None = None

    @classmethod
    def user(cls, id: object, *, label: str | None = None) -> Actor:  # noqa: A002 (the field)
        """A person, by the id that the application knows them under."""
        return cls(type="user", id=str(id), label=label)

    @classmethod
    def service(cls, name: str) -> Actor:
        """Another program, by its name."""
        return cls(type="service", id=name, label=name)

    @classmethod
    def system(cls, name: str) -> Actor:
        """This program itself: a scheduled job, a migration, a command."""
        return cls(type="system", id=name, label=name)

    @classmethod
    def anonymous(cls) -> Actor:
        """Somebody who did not say who they are."""
        return cls(type="anonymous")

    @classmethod
    def unknown(cls) -> Actor:
        """Nobody asked who it was."""
        return cls(type="unknown")


@dataclass(frozen=True, kw_only=True)
class Target:
    """The thing that was acted on, and its version after the act where it has one."""

    type: str
    id: str | None
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """The HTTP request in which it happened. The route is the template, never the path."""

    id: str | None = None
    client_address: str | None = None
    user_agent: str | None = None
    method: str | None = None
    route: str | None = None


@dataclass(frozen=True, kw_only=True)
class Service:
    """The program that wrote the record; the resource of its log record."""

    name: str
    version: str | None = None
    instance: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """One audit event before it is stored. `body` is the single text that all else derives from."""

    event_id: str
    occurred_at: datetime
    action: str
    actor: Actor
    tx_id: str
    service: Service
    outcome: Outcome = "success"
    reason: str | None = None
    on_behalf_of: Actor | None = None
    target: Target | None = None
    changes: Changes = field(default_factory=dict)
    request: Request | None = None
    trace_id: str | None = None
    span_id: str | None = None
    tenant: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def members(self) -> dict[str, Json]:
        """The members of the body, version 1."""
        return {
            "v": 1,
            "event_id": self.event_id,
            "occurred_at": timestamp(self.occurred_at),
            "action": self.action,
            "outcome": self.outcome,
            "reason": self.reason,
            "actor": _flat(self.actor),
            "on_behalf_of": _flat(self.on_behalf_of),
            "target": _flat(self.target),
            "changes": {name: dict(change) for name, change in self.changes.items()},
            "request": _flat(self.request),
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "tx_id": self.tx_id,
            "tenant": self.tenant,
            "service": _flat(self.service),
            "metadata": dict(self.metadata),
        }

    def body(self) -> str:
        """The canonical text, below 64 KiB.

        Values over 16 KiB are replaced by length and hash; if the whole is still too long, the
        limit is halved until it fits.

        Raises:
            AuditBodyError: so many columns changed at once that even their hashes do not fit, or
                a value is outside the profile.
        """
        text = canonical_json(self.members())
        if len(text) * 4 <= MAX_VALUE_BYTES:  # then no value of it is longer either
            return text
        limit = MAX_VALUE_BYTES
        while True:
            text = canonical_json(_shortened(self, limit).members())
            if len(text.encode()) <= MAX_BODY_BYTES:
                return text
            limit //= 2
            if limit < _LEAST_VALUE_BYTES:
                raise AuditBodyError(
                    f"the audit body of {self.action} is over 64 KiB even with its values replaced "
                    "by hashes: change fewer columns at once, or exclude some with Policy(exclude)"
                )


def _flat(part: Actor | Target | Request | Service | None) -> dict[str, Json] | None:
    """The members of a part, whose values are plain: `asdict` would copy each of them deeply."""
    return None if part is None else dict(vars(part))


def _shortened(record: AuditRecord, limit: int) -> AuditRecord:
    changes = {
        name: {side: shorten(value, limit) for side, value in change.items()}
        for name, change in record.changes.items()
    }
    metadata = {name: shorten(value, limit) for name, value in record.metadata.items()}
    return replace(record, changes=changes, metadata=metadata)
