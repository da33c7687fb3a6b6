"""Criteria of a search, as applications name them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, TypedDict

from auditspan.errors import AuditConfigError
from auditspan.format import OUTCOMES
from auditspan.mapping import as_target, model_of
from auditspan.storage import EXCLUDABLE, EventFilter

_ACTION = re.compile(r"(?=.*[.*])[A-Za-z0-9_.*-]+")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


class Exclusions(TypedDict, total=False):
    """Criteria that exclude events; each has the form of the criterion in `Criteria`."""

    actor: str
    on_behalf_of: str
    action: str
    target_type: str
    target_id: str
    field: str
    outcome: str
    tx_id: str
    trace_id: str
    request_id: str
    tenant: str
    text: str


class Criteria(TypedDict, total=False):
    """Criteria of a search; an event must meet all that are given.

    Attributes:
        actor: the id of the actor, or the label where no event has an actor of this id.
        on_behalf_of: the id or label of the one on whose behalf the actor acted.
        action: an action, as in ``invoice.update``; each ``*`` stands for any characters.
        field: the name of a changed column.
        outcome: ``success``, ``failure`` or ``unknown``.
        since, until: the earliest time, and the first that is too late; aware.
        tx_id, trace_id, request_id, tenant: the transaction, trace, request and tenant.
        text: text anywhere in the body; the case of ASCII letters does not matter.
        exclude: criteria that no event may meet.
    """

    actor: str
    on_behalf_of: str
    action: str
    field: str
    outcome: str
    since: datetime
    until: datetime
    tx_id: str
    trace_id: str
    request_id: str
    tenant: str
    text: str
    exclude: Exclusions


def wanted_events(target: object, criteria: Criteria) -> EventFilter:
    """Return the filter for these criteria.

    Raises:
        AuditConfigError: the target is not audited, or no event can meet a criterion.
    """
    named: dict[str, Any] = dict(criteria)
    if exclude := named.pop("exclude", None):
        named["exclude"] = EventFilter(**exclude)
    if isinstance(target, type):
        named["target_type"] = model_of(target).type
    elif (found := as_target(target)) is not None:
        named |= {"target_type": found.type, "target_id": found.id}
    wanted = EventFilter(**named)
    require_possible(wanted)
    return wanted


def require_possible(wanted: EventFilter) -> None:
    """Refuse a filter that no event can pass.

    Raises:
        AuditConfigError: the message names the criterion.
    """
    _require_values(wanted)
    for name, time in (("since", wanted.since), ("until", wanted.until)):
        if time is not None and time.tzinfo is None:
            raise AuditConfigError(f"{name} has no time zone: pass an aware datetime")
        if time is not None and not _exists_in_utc(time):
            raise AuditConfigError(f"invalid {name}: in UTC it is outside of the years 1 to 9999")
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        raise AuditConfigError("since is not before until, so that no event can match")
    if wanted.exclude is not None:
        _require_values(wanted.exclude)
        _require_remainder(wanted, wanted.exclude)


def _require_values(wanted: EventFilter) -> None:
    """Refuse values that no event has."""
    if wanted.action is not None and not _ACTION.fullmatch(wanted.action):
        raise AuditConfigError(
            f"invalid action {wanted.action!r}: expected `type.verb`, such as user.update or "
            "user.*, where `*` stands for any text"
        )
    if wanted.outcome is not None and wanted.outcome not in OUTCOMES:
        raise AuditConfigError(
            f"invalid outcome {wanted.outcome!r}: expected one of {', '.join(OUTCOMES)}"
        )
    if wanted.trace_id is not None and not _TRACE_ID.fullmatch(wanted.trace_id):
        raise AuditConfigError(
            f"invalid trace_id {wanted.trace_id!r}: expected 32 hexadecimal digits in lower case"
        )


def _require_remainder(wanted: EventFilter, excluded: EventFilter) -> None:
    """Refuse exclusions that leave no event."""
    for name in EXCLUDABLE:
        value, other = getattr(wanted, name), getattr(excluded, name)
        if other is not None and (value == other or _covers(name, other, value)):
            raise AuditConfigError(f"{name} is excluded, so that no event can match: leave one out")


def _covers(name: str, pattern: str, value: str | None) -> bool:
    """Return whether an excluded action leaves out all actions that are asked for."""
    if name != "action":
        return False
    return not pattern.strip("*") or (
        value is not None and "*" not in value and fnmatchcase(value, pattern)
    )


def _exists_in_utc(time: datetime) -> bool:
    try:
        time.astimezone(UTC)
    except OverflowError:
        return False
    return True
