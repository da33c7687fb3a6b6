"""Validation of actions (`type.verb`) and outcomes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import get_args

from auditspan.errors import AuditBodyError, AuditConfigError
from auditspan.format.key_addition import KEY_ADDED
from auditspan.format.record import Outcome
from auditspan.format.retention import HOLD, PURGE, RELEASE

_ACTION = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
VIEWED = "audit.viewed"
"""The action of a page of the viewer that was shown."""

VERIFIED = "audit.verified"
"""The action of a verification of the trail whose outcome was recorded."""

SUBJECT_ERASED = "trail.erased"
"""The action of the erasure of a subject's values, which is its target."""

OWN_ACTIONS = frozenset({HOLD, KEY_ADDED, PURGE, RELEASE, SUBJECT_ERASED, VERIFIED, VIEWED})
"""The actions that auditspan itself records; they need no registration."""

OUTCOMES: tuple[str, ...] = get_args(Outcome)
"""The outcomes that a record can have."""


def require_action(action: object, registered: Collection[str] | None) -> None:
    """Check that an action has the form `type.verb` and is registered, if there is a registry.

    Raises:
        AuditConfigError: the action is malformed or not registered; the message suggests the
            closest registered action.
    """
    if not isinstance(action, str) or not _ACTION.fullmatch(action):
        raise AuditConfigError(
            f"invalid action {action!r}: expected `type.verb`, as in 'invoice.exported'"
        )
    if registered is not None and action not in registered:
        near = difflib.get_close_matches(action, registered, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "add it to AuditTrail(actions=...)"
        raise AuditConfigError(f"action {action!r} is not registered; {hint}")


def require_outcome(outcome: object) -> None:
    """Check that an outcome is valid.

    Raises:
        AuditBodyError: the outcome is not one of the three.
    """
    if outcome not in OUTCOMES:
        raise AuditBodyError(f"the outcome must be one of {', '.join(OUTCOMES)}, not {outcome!r}")
