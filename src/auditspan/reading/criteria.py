"""Criteria of a search, as applications name them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TypedDict

from auditspan.errors import AuditConfigError
from auditspan.format import OUTCOMES
from auditspan.mapping import as_target, model_of
from auditspan.storage import EventFilter

_ACTION = re.compile(r"[A-Za-z0-9_.*-]+")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


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


def wanted_events(target: object, criteria: Criteria) -> EventFilter:
    """Return the filter for these criteria.

    Raises:
        AuditConfigError: the target is not audited, or no event can meet a criterion.
    """
    if isinstance(target, type):
        wanted = EventFilter(target_type=model_of(target).type, **criteria)
    elif (found := as_target(target)) is not None:
        wanted = EventFilter(target_type=found.type, target_id=found.id, **criteria)
    else:
        wanted = EventFilter(**criteria)
    require_possible(wanted)
    return wanted


def require_possible(wanted: EventFilter) -> None:
    """Refuse a filter that no event can pass.

    Raises:
        AuditConfigError: the message names the criterion.
    """
    if wanted.action is not None and not _ACTION.fullmatch(wanted.action):
        raise AuditConfigError(
            f"invalid action {wanted.action!r}: expected `type.verb`, where `*` stands for any text"
        )
    if wanted.outcome is not None and wanted.outcome not in OUTCOMES:
        raise AuditConfigError(
            f"invalid outcome {wanted.outcome!r}: expected one of {', '.join(OUTCOMES)}"
        )
    if wanted.trace_id is not None and not _TRACE_ID.fullmatch(wanted.trace_id):
        raise AuditConfigError(
            f"invalid trace_id {wanted.trace_id!r}: expected 32 hexadecimal digits in lower case"
        )
    for name, time in (("since", wanted.since), ("until", wanted.until)):
        if time is not None and time.tzinfo is None:
            raise AuditConfigError(f"{name} has no time zone: pass an aware datetime")
        if time is not None and not _exists_in_utc(time):
            raise AuditConfigError(f"invalid {name}: in UTC it is outside of the years 1 to 9999")
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        raise AuditConfigError("since is not before until, so that no event can match")


def _exists_in_utc(time: datetime) -> bool:
    try:
        time.astimezone(UTC)
    except OverflowError:
        return False
    return True
