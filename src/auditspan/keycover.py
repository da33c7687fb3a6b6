"""Cover of the rows that were sealed before a trail had a MAC key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session, scoped_session

from auditspan.errors import AuditConfigError
from auditspan.format.key_addition import (
    KEY_ADDED,
    TARGET,
)
from auditspan.format.mac import MacKey
from auditspan.format.record import Target
from auditspan.trail import AuditTrail
from auditspan.unkeyed import CoveredRows, find_uncovered


def cover_rows_without_mac(
    trail: AuditTrail,
    session: Session | scoped_session[Any],
    *,
    reason: str | None = None,
    later: bool = False,
    earlier_keys: Sequence[MacKey] = (),
) -> CoveredRows | None:
    """Record that the rows sealed before the trail had a MAC key have no MAC (`trail.key_added`).

    `verify` with the key accepts these rows from then on, and no row without a MAC that is sealed
    later. What was changed or inserted among them before this call cannot be found. So call it as
    soon as every process that writes has the key, and the worker has sealed what is there.

    Args:
        trail: the trail, with its key.
        session: a session under the trail; the record commits with it.
        reason: why, for the trail.
        later: cover rows without a MAC that follow a row with one, too.
        earlier_keys: MAC keys that the trail had before its present one.

    Returns:
        The covered rows; None if no row is left to cover.

    Raises:
        AuditConfigError: the trail has no key, rows without a MAC are not sealed yet or follow a
            row with one, or the sealed rows are not those of the last checkpoint.
        MissingContextError: no context says who acts.
    """
    key = trail.mac_key
    if key is None:
        raise AuditConfigError("this trail has no MAC key: pass AuditTrail(mac_key=...) first")
    found = find_uncovered(session.connection(), trail.tables, (key, *earlier_keys), later=later)
    if found is None:
        return None
    event_id = trail.record(
        session,
        KEY_ADDED,
        target=Target(type=TARGET[0], id=TARGET[1]),
        reason=reason,
        metadata=found.statement.metadata(key),
    )
    return replace(found, event_id=event_id)
