"""The audit record: who did what to which thing, when, with what outcome (body version 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

from auditspan.errors import AuditBodyError, AuditConfigError
from auditspan.format.canonical import (
    Json,
    canonical_json,
    canonical_scalar,
    canonical_word,
    timestamp,
)
from auditspan.format.diff import Changes, canonical_changes
from auditspan.format.redaction import MAX_VALUE_BYTES, shorten

ActorType = Literal["user", "service", "system", "anonymous", "unknown", "database"]
Outcome = Literal["success", "failure", "unknown"]

MAX_BODY_BYTES = 64 * 1024 - 1
_EMPTY: dict[str, Any] = {}
"""What nobody may add to: the changes, or the metadata, of records that have none."""

_of_utc = lru_cache(maxsize=16)(timestamp)
"""What happens at once has the same time."""

_LEAST_VALUE_BYTES = 128  # a digest takes about as much itself


@dataclass(frozen=True)
class _Part:
    """What many records have in common; its text is made once."""

    @cached_property
    def text(self) -> str:
        """The canonical text of its fields."""
        return canonical_json({one.name: getattr(self, one.name) for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Actor(_Part):
    """Who acts. Anonymous (nobody said), system (we ourselves) and unknown are three things."""

    type: ActorType
    id: str | None = None
    label: str | None = None

    @classmethod
    def user(cls, id: object, *, label: str | None = None) -> Actor:  # noqa: A002 (the field)
        """A person, by the id that the application knows them under.

        Raises:
            AuditConfigError: it is no id, as that of a caller who is not logged in.
        """
        if not _identifies(id):
            raise AuditConfigError(
                f"invalid user id (empty text or {type(id).__name__}): pass the primary key of the "
                "user, or use Actor.anonymous() for a caller who is not logged in"
            )
        return cls(type="user", id=str(id), label=label)

    @classmethod
    def service(cls, name: str) -> Actor:
        """Another program, by its name."""
        return cls(type="service", id=_named(name), label=name)

    @classmethod
    def system(cls, name: str) -> Actor:
        """This program itself: a scheduled job, a migration, a command."""
        return cls(type="system", id=_named(name), label=name)

    @classmethod
    def anonymous(cls) -> Actor:
        """Somebody who did not say who they are."""
        return cls(type="anonymous")

    @classmethod
    def unknown(cls) -> Actor:
        """Nobody asked who it was."""
        return cls(type="unknown")

    @classmethod
    def database(cls, role: str | None) -> Actor:
        """Whoever wrote past every trail: the database knows the role, where it has roles."""
        return cls(type="database", id=role, label=role)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The thing that was acted on, and its version after the act where it has one."""

    type: str
    id: str | None
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Request(_Part):
    """The HTTP request in which it happened. The route is the template, never the path."""

    id: str | None = None
    client_address: str | None = None
    user_agent: str | None = None
    method: str | None = None
    route: str | None = None


@dataclass(frozen=True, kw_only=True)
class Service(_Part):
    """The program that wrote the record; the resource of its log record."""

    name: str
    version: str | None = None
    instance: str | None = None


class AuditRecord(NamedTuple):
    """One audit event before it is stored. `body` is the single text that all else derives from.

    `change_id` orders the changes of one target: the id of the staged change, and None where
    nothing was staged.

    A tuple, since a flush makes many: a frozen dataclass takes four times as long to make.
    """

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
    changes: Changes = _EMPTY
    request: Request | None = None
    trace_id: str | None = None
    span_id: str | None = None
    tenant: str | None = None
    metadata: Mapping[str, Json] = _EMPTY
    change_id: int | None = None

    def body(self) -> str:
        """The canonical text, below 64 KiB.

        Values over 16 KiB are replaced by length and hash; if the whole is still too long, the
        limit is halved until it fits.

        Raises:
            AuditBodyError: a member, or so many columns changed at once, do not fit even with
                hashes in place of values, or a value is outside the profile.
        """
        text = _text(self)
        if len(text) * 4 <= MAX_VALUE_BYTES:  # then no value of it is longer either
            return text
        limit = MAX_VALUE_BYTES
        while True:
            text = _text(_shortened(self, limit))
            if len(text.encode()) <= MAX_BODY_BYTES:
                return text
            limit //= 2
            if limit < _LEAST_VALUE_BYTES:
                raise _too_long(self.action, text)


def _identifies(id_: object) -> bool:
    """Report whether the text of this value identifies somebody."""
    if id_ is None or isinstance(id_, bool | bytes):
        return False
    return str(id_).strip() not in {"", object.__repr__(id_)}


def _named(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise AuditConfigError("a service or a job needs a name, as in Actor.system('billing')")
    return name


def _too_long(action: str, text: str) -> AuditBodyError:
    """Return the error for a body that is too long, which names its longest member."""
    sizes = {name: len(json.dumps(value)) for name, value in json.loads(text).items()}
    longest = max(sizes, key=sizes.__getitem__)
    if longest == "changes":
        return AuditBodyError(
            f"the audit body of {action} is over 64 KiB even with the values in its changes "
            "replaced by hashes: change fewer columns at once, or exclude some with "
            "Policy(exclude)"
        )
    return AuditBodyError(
        f"the audit body of {action} is over 64 KiB, and most of it is its {longest} with "
        f"{sizes[longest]} characters: shorten that member"
    )


def _text(record: AuditRecord) -> str:
    """The canonical text of the members of body version 1, in the order of their names."""
    return (
        f'{{"action":{canonical_word(record.action)}'
        f',"actor":{_part(record.actor)}'
        f',"change_id":{canonical_scalar(record.change_id)}'
        f',"changes":{canonical_changes(record.changes)}'
        f',"event_id":{canonical_scalar(record.event_id)}'
        f',"metadata":{canonical_json(dict(record.metadata)) if record.metadata else "{}"}'
        f',"occurred_at":"{_moment(record.occurred_at)}"'
        f',"on_behalf_of":{_part(record.on_behalf_of)}'
        f',"outcome":{canonical_word(record.outcome)}'
        f',"reason":{canonical_scalar(record.reason)}'
        f',"request":{_part(record.request)}'
        f',"service":{_part(record.service)}'
        f',"span_id":{canonical_word(record.span_id)}'
        f',"target":{_target(record.target)}'
        f',"tenant":{canonical_word(record.tenant)}'
        f',"trace_id":{canonical_word(record.trace_id)}'
        f',"tx_id":{canonical_word(record.tx_id)},"v":1}}'
    )


def _moment(moment: datetime) -> str:
    # Equal times of other zones may be two instants: those of the hour that a clock repeats.
    return _of_utc(moment) if moment.tzinfo is UTC else timestamp(moment)


def _part(part: _Part | None) -> str:
    return "null" if part is None else part.text


def _target(target: Target | None) -> str:
    if target is None:
        return "null"
    return (
        f'{{"id":{canonical_scalar(target.id)},"type":{canonical_word(target.type)}'
        f',"version":{canonical_scalar(target.version)}}}'
    )


def _shortened(record: AuditRecord, limit: int) -> AuditRecord:
    changes = {
        name: {side: shorten(value, limit) for side, value in change.items()}
        for name, change in record.changes.items()
    }
    metadata = {name: shorten(value, limit) for name, value in record.metadata.items()}
    return record._replace(changes=changes, metadata=metadata)
