"""Staged changes, which triggers have written in the transaction that made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

BATCH = 2000
"""Rows per batch of a large transaction."""


class StagedChange(NamedTuple):
    """One row of the staging table: the images of a row before and after one change.

    Attributes:
        id: orders the changes.
        position: is compared with the positions at which contexts were noted.
        table: the key of the audited table in its metadata.
        operation: INSERT, UPDATE, DELETE or TRUNCATE.
        old, new: the images; None where the row did not exist before or after the change.
    """

    id: int
    position: int
    table: str
    operation: str
    old: str | bytes | None
    new: str | bytes | None


Preview = Callable[[list[StagedChange]], bool]
"""Receives changes ahead of time, and returns whether it needs more of them."""


def table_key(schema: str | None, name: str) -> str:
    """Return the key of a table in its metadata."""
    return f"{schema}.{name}" if schema else name
