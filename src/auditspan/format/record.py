"""Audit record: actor, action, target, changes, time and outcome (body version 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

from auditspan.errors import AuditBodyError, AuditConfigError
from auditspan.format.canonical import Json, canonical_json, canonical_scalar, canonical_word
from auditspan.format.diff import Changes, canonical_changes
from auditspan.format.erasable import MEMBER, Disclosure, placeholder, replace_at
from auditspan.format.redaction import MAX_VALUE_BYTES, shorten
from auditspan.format.values import timestamp

ActorType = Literal["user", "service", "system", "anonymous", "unknown", "database"]
Outcome = Literal["success", "failure", "unknown"]

MAX_BODY_BYTES = 64 * 1024 - 1
_EMPTY: dict[str, Any] = {}
"""The shared default for `changes` and `metadata`; never modified."""

_of_utc = lru_cache(maxsize=16)(timestamp)
"""Cached `timestamp`: records of one flush share their time."""

_LEAST_VALUE_BYTES = 128  # a digest is about as long


@dataclass(frozen=True)
class _Part:
    """Part shared by many records; its text is computed once."""

    @cached_property
    def text(self) -> str:
        """The canonical JSON of the fields."""
        return canonical_json({one.name: getattr(self, one.name) for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Actor(_Part):
    """Actor of a record.

    Anonymous (the caller did not identify itself), system (this program) and unknown (the actor
    was never determined) are different types.
    """

    type: ActorType
    id: str | None = None
    label: str | None = None

    @classmethod
    def user(cls, id: object, *, label: str | None = None) -> Actor:
        """Return the actor for a person, identified by the application's user id.

        Raises:
            AuditConfigError: the id is invalid, like that of a caller who is not logged in.
        """
        if not _identifies(id):
            raise AuditConfigError(
                f"invalid user id (empty text or {type(id).__name__}): pass the primary key of the "
                "user, or use Actor.anonymous() for a caller who is not logged in"
            )
        return cls(type="user", id=str(id), label=label)

    @classmethod
    def service(cls, name: str) -> Actor:
        """Return the actor for another program, identified by its name."""
        return cls(type="service", id=_named(name), label=name)

    @classmethod
    def system(cls, name: str) -> Actor:
        """Return the actor for this program itself: a scheduled job, a migration, a command."""
        return cls(type="system", id=_named(name), label=name)

    @classmethod
    def anonymous(cls) -> Actor:
        """Return the actor for a caller that did not identify itself."""
        return cls(type="anonymous")

    @classmethod
    def unknown(cls) -> Actor:
        """Return the actor for a change whose actor was never determined."""
        return cls(type="unknown")

    @classmethod
    def database(cls, role: str | None) -> Actor:
        """Return the actor for a write outside every trail: the database role, if there is one."""
        return cls(type="database", id=role, label=role)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Object that was acted on, with its version after the action if it has one."""

    type: str
    id: str | None
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Request(_Part):
    """HTTP request that caused the event. The route is the template, never the path."""

    id: str | None = None
    client_address: str | None = None
    user_agent: str | None = None
    method: str | None = None
    route: str | None = None


@dataclass(frozen=True, kw_only=True)
class Service(_Part):
    """Program that wrote the record; it becomes the resource of the log record.

    Attributes:
        name: `service.name`.
        version: `service.version`.
        instance: `service.instance.id`.
        attributes: the other attributes of its resource, as text; absent from the body if empty.
    """

    name: str
    version: str | None = None
    instance: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def text(self) -> str:
        """The canonical JSON of the fields."""
        names = ("name", "version", "instance", *(("attributes",) if self.attributes else ()))
        return canonical_json({name: getattr(self, name) for name in names})


class AuditRecord(NamedTuple):
    """Audit event before it is stored; everything else is derived from its `body`.

    `change_id` orders the changes of one target: it is the id of the staged change, or None if no
    change was staged. The body has only commitments to the values of `disclosures`.

    It is a named tuple because a flush creates many: creating a frozen dataclass takes four times
    as long.
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
    disclosures: Sequence[Disclosure] = ()

    def body(self) -> str:
        """Return the canonical text, below 64 KiB.

        Values over 16 KiB are replaced by their length and hash; if the text is still too long, the
        limit is halved until it fits.

        Raises:
            AuditBodyError: the text is too long even with hashes in place of values, because of one
                member or the number of changed columns, or a value is outside the profile.
        """
        record = _committed(self) if self.disclosures else self
        text = _text(record)
        if len(text) * 4 <= MAX_VALUE_BYTES:  # then no value is longer either
            return text
        limit = MAX_VALUE_BYTES
        while True:
            text = _text(_shortened(record, limit))
            if len(text.encode()) <= MAX_BODY_BYTES:
                return text
            limit //= 2
            if limit < _LEAST_VALUE_BYTES:
                raise _too_long(self.action, text)


def _identifies(id_: object) -> bool:
    """Check that the text of this value can identify a user."""
    if id_ is None or isinstance(id_, bool | bytes):
        return False
    return str(id_).strip() not in {"", object.__repr__(id_)}


def _named(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise AuditConfigError(
            "invalid actor name: pass the name of the service or job, as in Actor.system('billing')"
        )
    return name


def _too_long(action: str, text: str) -> AuditBodyError:
    """Return the error for a body that is too long; its message names the longest member."""
    sizes = {name: len(json.dumps(value)) for name, value in json.loads(text).items()}
    longest = max(sizes, key=sizes.__getitem__)
    if longest == "changes":
        return AuditBodyError(
            f"the audit body of {action} is over 64 KiB even with the values of its changes "
            "replaced by hashes: change fewer columns at once, or exclude some with "
            "Policy(exclude)"
        )
    return AuditBodyError(
        f"the audit body of {action} is over 64 KiB; its longest member is {longest} with "
        f"{sizes[longest]} characters: shorten that member"
    )


def _text(record: AuditRecord) -> str:
    """Return the canonical text of body version 1, with the members sorted by name."""
    return (
        f'{{"action":{canonical_word(record.action)}'
        f',"actor":{_part(record.actor)}'
        f',"change_id":{canonical_scalar(record.change_id)}'
        f',"changes":{canonical_changes(record.changes)}'
        f"{_commitments(record.disclosures) if record.disclosures else ''}"
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
    # Equal times in other zones may be different instants: an hour is repeated when clocks go back.
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


def _commitments(disclosures: Sequence[Disclosure]) -> str:
    return f',"{MEMBER}":{canonical_json({one.sha256: one.entry for one in disclosures})}'


def _committed(record: AuditRecord) -> AuditRecord:
    """Return the record with a placeholder for every erasable value."""
    values: dict[str, Any] = {"changes": record.changes, "metadata": record.metadata}
    for one in record.disclosures:
        member, *rest = one.path
        if member in values:
            replace_at(values, one.path, placeholder(one.path))
        else:
            part = getattr(record, member)
            record = record._replace(**{member: replace(part, **{rest[0]: placeholder(one.path)})})
    return record._replace(**values)


def _shortened(record: AuditRecord, limit: int) -> AuditRecord:
    changes = {
        name: {side: shorten(value, limit) for side, value in change.items()}
        for name, change in record.changes.items()
    }
    metadata = {name: shorten(value, limit) for name, value in record.metadata.items()}
    return record._replace(changes=changes, metadata=metadata)
