"""Audit record: actor, action, target, changes, time and outcome (body version 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from auditspan.errors import AuditBodyError
from auditspan.format.canonical import Json, canonical_json, canonical_scalar, canonical_word
from auditspan.format.diff import Changes, canonical_changes
from auditspan.format.erasable import MEMBER, Disclosure, placeholder, replace_at
from auditspan.format.record_parts import Actor, RecordPart, Request, Service, Target
from auditspan.format.redaction import MAX_VALUE_BYTES, shorten
from auditspan.format.values import timestamp

Outcome = Literal["success", "failure", "unknown"]

MAX_BODY_BYTES = 64 * 1024 - 1
_EMPTY: dict[str, Any] = {}
"""The shared default for `changes` and `metadata`; never modified."""

_Hidden: TypeAlias = dict[str, tuple[str, ...]]
"""The names of the erasable texts of an actor, a principal or a request, by their member."""

_of_utc = lru_cache(maxsize=16)(timestamp)
"""Cached `timestamp`: records of one flush share their time."""

_LEAST_VALUE_BYTES = 128  # a digest is about as long


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
        record, hidden = _committed(self) if self.disclosures else (self, _EMPTY)
        text = _text(record, hidden)
        if len(text) * 4 <= MAX_VALUE_BYTES:  # then no value is longer either
            return text
        limit = MAX_VALUE_BYTES
        while True:
            text = _text(_shortened(record, limit), hidden)
            if len(text.encode()) <= MAX_BODY_BYTES:
                return text
            limit //= 2
            if limit < _LEAST_VALUE_BYTES:
                raise _too_long(self.action, text)


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


def _text(record: AuditRecord, hidden: _Hidden) -> str:
    """Return the canonical text of body version 1, with the members sorted by name."""
    return (
        f'{{"action":{canonical_word(record.action)}'
        f',"actor":{_part(record, "actor", hidden)}'
        f',"change_id":{canonical_scalar(record.change_id)}'
        f',"changes":{canonical_changes(record.changes)}'
        f"{_commitments(record.disclosures) if record.disclosures else ''}"
        f',"event_id":{canonical_scalar(record.event_id)}'
        f',"metadata":{canonical_json(dict(record.metadata)) if record.metadata else "{}"}'
        f',"occurred_at":"{_moment(record.occurred_at)}"'
        f',"on_behalf_of":{_part(record, "on_behalf_of", hidden)}'
        f',"outcome":{canonical_word(record.outcome)}'
        f',"reason":{canonical_scalar(record.reason)}'
        f',"request":{_part(record, "request", hidden)}'
        f',"service":{record.service.text}'
        f',"span_id":{canonical_word(record.span_id)}'
        f',"target":{_target(record.target)}'
        f',"tenant":{canonical_word(record.tenant)}'
        f',"trace_id":{canonical_word(record.trace_id)}'
        f',"tx_id":{canonical_word(record.tx_id)},"v":1}}'
    )


def _moment(moment: datetime) -> str:
    # Equal times in other zones may be different instants: an hour is repeated when clocks go back.
    return _of_utc(moment) if moment.tzinfo is UTC else timestamp(moment)


def _part(record: AuditRecord, member: str, hidden: _Hidden) -> str:
    part: RecordPart | None = getattr(record, member)
    if part is None:
        return "null"
    return part.text_without(hidden[member]) if member in hidden else part.text


def _target(target: Target | None) -> str:
    if target is None:
        return "null"
    return (
        f'{{"id":{canonical_scalar(target.id)},"type":{canonical_word(target.type)}'
        f',"version":{canonical_scalar(target.version)}}}'
    )


def _commitments(disclosures: Sequence[Disclosure]) -> str:
    entries = {one.sha256: one.entry for one in disclosures}
    members = [f'"{sha256}":{entries[sha256]}' for sha256 in sorted(entries)]
    return f',"{MEMBER}":{{{",".join(members)}}}'


def _committed(record: AuditRecord) -> tuple[AuditRecord, _Hidden]:
    """Return the record with placeholders in changes and metadata, and the texts to hide."""
    values: dict[str, Any] = {"changes": record.changes, "metadata": record.metadata}
    hidden: _Hidden = {}
    for one in record.disclosures:
        member = one.path[0]
        if member in values:
            replace_at(values, one.path, placeholder(one.path))
        else:
            hidden[member] = (*hidden.get(member, ()), one.path[1])
    return record._replace(**values), hidden


def _shortened(record: AuditRecord, limit: int) -> AuditRecord:
    changes = {
        name: {side: shorten(value, limit) for side, value in change.items()}
        for name, change in record.changes.items()
    }
    metadata = {name: shorten(value, limit) for name, value in record.metadata.items()}
    return record._replace(changes=changes, metadata=metadata)
