"""Delivery of one batch to one sink, halved to find the records that the sink refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from auditspan.delivery.cursors import NOTHING, Item
from auditspan.delivery.log_record import ExportRecord, checkpoint_record, log_record
from auditspan.delivery.sinks import Sink
from auditspan.errors import SinkRejectedError, SinkUnavailableError
from auditspan.format import SealedRow, SignedCheckpoint

UNFIT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors that building the record of a tampered row can raise."""

Refused: TypeAlias = list[tuple[Item, str]]
"""The items that the sink refuses, each with its reason."""

_Prepared: TypeAlias = Sequence[tuple[Item, ExportRecord]]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Items in the order in which they are sent, with their log records.

    Attributes:
        items: the items.
        records: those that have a log record, with it.
        unfit: those that have none.
        after: the last sequence number before them.
        newest: the last sequence number in the table when they were read.
    """

    items: Sequence[Item]
    records: _Prepared
    unfit: Refused
    after: int = NOTHING
    newest: int = NOTHING

    @property
    def rows(self) -> Sequence[SealedRow]:
        """The items that are rows, and not checkpoints."""
        return [item for item in self.items if isinstance(item, SealedRow)]

    @property
    def age(self) -> float:
        """The seconds since its first row was recorded; 0 without rows, or without its time."""
        first = self.items[0] if self.items else None
        recorded = first.recorded_at if isinstance(first, SealedRow) else None
        return max(0.0, (datetime.now(UTC) - recorded).total_seconds()) if recorded else 0.0


def prepare(items: Sequence[Item], *, after: int = NOTHING, newest: int = NOTHING) -> Batch:
    """Build the log records of a batch."""
    records: list[tuple[Item, ExportRecord]] = []
    unfit: Refused = []
    for item in items:
        try:
            records.append((item, record_of(item)))
        except UNFIT as error:
            unfit.append((item, f"its log record cannot be built ({type(error).__name__})"))
    return Batch(items=items, records=records, unfit=unfit, after=after, newest=newest)


def send_all(sink: Sink, batch: Batch) -> Refused:
    """Send a batch; return the items that the sink refuses. All others are acknowledged.

    A refused batch is halved until the single refused records are found.

    Raises:
        SinkUnavailableError: the sink is unavailable, or it refuses everything.
    """
    if not batch.records:
        return batch.unfit
    reason = _try(sink, batch.records)
    if reason is None:
        return batch.unfit
    _probe(sink)
    return batch.unfit + _halve(sink, batch.records, reason)


def _halve(sink: Sink, prepared: _Prepared, reason: str) -> Refused:
    """Return the refused records of a batch that is refused as a whole."""
    if len(prepared) == 1:
        _probe(sink)
        return [(prepared[0][0], reason)]
    middle = len(prepared) // 2
    refused: Refused = []
    for half in (prepared[:middle], prepared[middle:]):
        its_reason = _try(sink, half)
        if its_reason is not None:
            refused += _halve(sink, half, its_reason)
    return refused


def _probe(sink: Sink) -> None:
    """Check that a refusal concerns the records; otherwise all would be quarantined."""
    try:
        sink.send([])
    except SinkRejectedError as error:
        raise SinkUnavailableError(
            f"the sink refuses even an empty batch: {error.message}"
        ) from error


def _try(sink: Sink, prepared: _Prepared) -> str | None:
    """Send; return the reason if it is refused, None if it is acknowledged."""
    try:
        sink.send([record for _, record in prepared])
    except SinkRejectedError as error:
        return error.message
    return None


def record_of(item: Item) -> ExportRecord:
    """Return the log record of a row or a checkpoint.

    Raises:
        one of `UNFIT`: the row was tampered with, so its record cannot be built.
    """
    return checkpoint_record(item) if isinstance(item, SignedCheckpoint) else log_record(item)


def count_rows(refused: Refused) -> int:
    """Return how many of the refused items are rows, and not checkpoints."""
    return sum(isinstance(item, SealedRow) for item, _ in refused)
