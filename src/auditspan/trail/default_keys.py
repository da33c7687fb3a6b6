"""Default keys of a trail, and the warning where no MAC key was chosen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import Enum

from auditspan.format import ActorType, AuditRecord, ErasureKey, MacKey
from auditspan.storage import KeySource
from auditspan.storage.keys import stored_erasure_keys, stored_mac_key, stored_path
from auditspan.telemetry import EventSignal, announce

_logger = logging.getLogger(__name__)


class Unset(Enum):
    """Default for an argument for which None is a valid value."""

    UNSET = "unset"


class KeyWarning:
    """State of the warning about a trail without a key: once per process, and never under test.

    It is given when a row has been written, since `flask audit init` makes the key after the trail.
    """

    is_allowed: bool = True
    is_due: bool = False


def chosen_key(given: MacKey | Unset | None) -> MacKey | None:
    """Return the given key; by default the stored one, without which a warning is due."""
    if not isinstance(given, Unset):
        return given
    stored = stored_mac_key()
    KeyWarning.is_due = KeyWarning.is_due or (stored is None and KeyWarning.is_allowed)
    return stored


def announce_without_key(
    records: Sequence[AuditRecord], counts: Mapping[ActorType, int], *, signal: EventSignal
) -> None:
    """Announce records, and warn that they were written without a key unless that was asked for."""
    announce(records, counts, signal=signal)
    if KeyWarning.is_due:
        KeyWarning.is_due = KeyWarning.is_allowed = False
        _logger.warning(
            "AuditTrail has no mac_key, and %s (AUDITSPAN_MAC_KEY_FILE) does not exist: anyone who "
            "can write to the database can change audit rows and seal them again undetected. If "
            "the trail has a key in another place, name it; else create one with `flask audit "
            "init` or `auditspan --app MODULE:TRAIL init` "
            "(docs/how-to/audit-your-own-application.md), or pass mac_key=None to run without a "
            "key and silence this warning",
            stored_path("mac").absolute(),
        )


def chosen_erasure_keys(
    given: ErasureKey | Sequence[ErasureKey] | None,
) -> KeySource:
    """Return the given keys; by default a function that reads the stored ones once."""
    if given is not None:
        return (given,) if isinstance(given, ErasureKey) else given
    found: list[ErasureKey] = []

    def stored() -> Sequence[ErasureKey]:
        found.extend(() if found else stored_erasure_keys())
        return found

    return stored
