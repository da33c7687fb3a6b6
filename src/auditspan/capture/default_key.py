"""Warning about a trail for which neither a MAC key nor None was chosen."""

from __future__ import annotations

import logging
from enum import Enum

from auditspan.format import MacKey

_logger = logging.getLogger(__name__)


class Unset(Enum):
    """Default for an argument for which None is a valid value."""

    UNSET = "unset"


class KeyWarning:
    """State of the warning about a trail without a key: once per process, and never under test."""

    is_due: bool = True


def chosen_key(given: MacKey | Unset | None) -> MacKey | None:
    """Return the given key; warn once if neither a key nor None was given."""
    if not isinstance(given, Unset):
        return given
    if KeyWarning.is_due:
        KeyWarning.is_due = False
        _logger.warning(
            "AuditTrail has no mac_key: anyone who can write to the database can change audit rows "
            "and seal them again undetected. Pass mac_key=MacKey.parse(...) (docs/how-to/"
            "audit-your-own-application.md shows how to create one), or mac_key=None to run "
            "without a key and silence this warning"
        )
    return None
