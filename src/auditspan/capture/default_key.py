"""The warning of a trail that was not told whether it has a MAC key."""

from __future__ import annotations

import logging
from enum import Enum

from auditspan.format import MacKey

_logger = logging.getLogger(__name__)


class Unset(Enum):
    """The default of an argument that may be None."""

    UNSET = "unset"


class KeyWarning:
    """Whether to warn of a trail without a key: once per process, and never under test."""

    is_due: bool = True


def chosen_key(given: MacKey | Unset | None) -> MacKey | None:
    """Return the key that was given; warn once if none was chosen."""
    if not isinstance(given, Unset):
        return given
    if KeyWarning.is_due:
        KeyWarning.is_due = False
        _logger.warning(
            "AuditTrail has no mac_key: whoever can write to the database can change audit rows "
            "and seal them again without being found. Pass mac_key=MacKey.parse(...) (docs/how-to/"
            "audit-your-own-application.md makes one), or mac_key=None to do without and silence "
            "this warning"
        )
    return None
