"""Defaults of a trail: clock, ids, and the warning where no MAC key was chosen."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum

from auditspan.format import MAX_MILLIS, RANDOM_BYTES, ErasureKey, MacKey, uuid7
from auditspan.storage import KeySource
from auditspan.storage.keys import stored_erasure_keys, stored_mac_key, stored_path

_logger = logging.getLogger(__name__)


class Unset(Enum):
    """Default for an argument for which None is a valid value."""

    UNSET = "unset"


class KeyWarning:
    """State of the warning about a trail without a key: once per process, and never under test.

    It is given when a row is written, since `flask audit init` makes the key after the trail.
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


def warn_without_key() -> None:
    """Warn that rows are written without a key, unless that was asked for."""
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


def utc_now() -> datetime:
    """Return the current time; the default clock of a trail."""
    return datetime.now(UTC)


def fresh_id() -> str:
    """Return a new version 7 UUID; the default source of a trail's ids."""
    millis = int(time.time_ns()) // 1_000_000  # libraries that freeze time may return a float
    return uuid7(min(max(millis, 0), MAX_MILLIS), os.urandom(RANDOM_BYTES))
