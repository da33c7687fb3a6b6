"""Rows of the trail, as they are sealed, sent and checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from auditspan.format.columns import Values


class SealedRow(NamedTuple):
    """A row of the trail with its place in the sealed sequence.

    `recorded_at` is None where somebody has put a time there that cannot be told. `trail` is the
    name of the trail, which tells it apart from others that deliver to the same collector.
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
    """A checkpoint with its note, and when the sealer made it."""

    size: int
    root: bytes
    note: str
    created_at: datetime


class SealedLeaf(NamedTuple):
    """A leaf with the row that it stands for; `body` is None where the row is gone.

    `columns` are the plain columns as the table has them, in the order of `COLUMNS`. All timestamps
    are in the form of the body.
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
