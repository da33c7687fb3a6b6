"""One batch to one sink, down to the single record that the sink refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from opentelemetry.sdk._logs import ReadableLogRecord

from auditspan.delivery.cursors import Item
from auditspan.delivery.sinks import Sink
from auditspan.errors import SinkRejectedError, SinkUnavailableError
from auditspan.format import SignedCheckpoint
from auditspan.telemetry import checkpoint_record, log_record

UNFIT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What making or encoding a record of a row can raise that somebody has tampered with."""

Refused: TypeAlias = list[tuple[Item, str]]
"""What the sink refuses one by one, with its reasons."""

_Prepared: TypeAlias = Sequence[tuple[Item, ReadableLogRecord]]


def send_all(sink: Sink, items: Sequence[Item]) -> Refused:
    """Send a batch; what of it the sink refuses. All else is acknowledged.

    A batch that is refused is halved until the single records are found.

    Raises:
        SinkUnavailableError: not now, or the sink refuses whatever it is sent.
    """
    prepared: list[tuple[Item, ReadableLogRecord]] = []
    unfit: Refused = []
    for item in items:
        try:
            prepared.append((item, record_of(item)))
        except UNFIT as error:
            unfit.append((item, f"no record can be made of it ({type(error).__name__})"))
    if not prepared:
        return unfit
    reason = _try(sink, prepared)
    if reason is None:
        return unfit
    _probe(sink)
    return unfit + _halve(sink, prepared, reason)


def _halve(sink: Sink, prepared: _Prepared, reason: str) -> Refused:
    """Find what is refused in a batch that is refused as a whole."""
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
    """Make sure that a refusal speaks of the records: else all of them would be set aside."""
    try:
        sink.send([])
    except SinkRejectedError as error:
        raise SinkUnavailableError(
            f"the sink refuses even an empty batch: {error.message}"
        ) from error


def _try(sink: Sink, prepared: _Prepared) -> str | None:
    """Send; why it is refused, None where it is acknowledged."""
    try:
        sink.send([record for _, record in prepared])
    except SinkRejectedError as error:
        return error.message
    except UNFIT as error:
        return f"it cannot be encoded ({type(error).__name__})"
    return None


def record_of(item: Item) -> ReadableLogRecord:
    """The log record of a row or a checkpoint.

    Raises:
        one of `UNFIT`: somebody has tampered with it so that there is none.
    """
    return checkpoint_record(item) if isinstance(item, SignedCheckpoint) else log_record(item)
