"""Delivery of one batch to one sink, halved to find the records that the sink refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from auditspan.delivery.cursors import Item
from auditspan.delivery.log_record import ExportRecord, checkpoint_record, log_record
from auditspan.delivery.sinks import Sink
from auditspan.errors import SinkRejectedError, SinkUnavailableError
from auditspan.format import SealedRow, SignedCheckpoint

UNFIT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors that building the record of a tampered row can raise."""

Refused: TypeAlias = list[tuple[Item, str]]
"""The items that the sink refuses, each with its reason."""

_Prepared: TypeAlias = Sequence[tuple[Item, ExportRecord]]


def send_all(sink: Sink, items: Sequence[Item]) -> Refused:
    """Send a batch; return the items that the sink refuses. All others are acknowledged.

    A refused batch is halved until the single refused records are found.

    Raises:
        SinkUnavailableError: the sink is unavailable, or it refuses everything.
    """
    prepared: list[tuple[Item, ExportRecord]] = []
    unfit: Refused = []
    for item in items:
        try:
            prepared.append((item, record_of(item)))
        except UNFIT as error:
            unfit.append((item, f"its log record cannot be built ({type(error).__name__})"))
    if not prepared:
        return unfit
    reason = _try(sink, prepared)
    if reason is None:
        return unfit
    _probe(sink)
    return unfit + _halve(sink, prepared, reason)


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
