"""Rows of the trail, as they are sealed, exported and verified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from auditspan.format.columns import Values


class SealedRow(NamedTuple):
    """Row of the trail with its sequence number.

    `recorded_at` is None if the stored time was tampered with and cannot be parsed. `trail` is the
    name of the trail, which distinguishes trails that deliver to the same collector.
    """

    seq: int
    row_id: int
    event_id: str
    recorded_at: datetime | None
    body: str
    mac: str | None
    trail: str | None = None


@dataclass(frozen=True, kw_only=True)
class SignedCheckpoint:
    """Checkpoint with its note and the time at which the sealer created it.

    `created_at` is None if the stored time was tampered with and cannot be parsed.
    """

    size: int
    root: bytes
    note: str
    created_at: datetime | None


class SealedLeaf(NamedTuple):
    """Leaf with its row; `body` is None if the row is missing.

    `columns` are the stored plain columns, in the order of `COLUMNS`. All timestamps are in the
    format of the body.
    """

    seq: int
    row_id: int
    event_id: str
    leaf_hash: bytes
    recorded_at: str | None
    body: str | None
    mac: str | None
    mac_key_id: str | None
    columns: Values
