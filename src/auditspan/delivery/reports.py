"""Log messages of a relay about its sink."""

from __future__ import annotations

import logging

from auditspan.delivery.backoff import LONGEST_ASKED
from auditspan.delivery.cursors import Cursors, Item
from auditspan.errors import SinkUnavailableError
from auditspan.format import SealedRow

_logger = logging.getLogger("auditspan.delivery.relay")


def is_capped(error: SinkUnavailableError) -> bool:
    """Return True if the sink asked for a longer pause than the relay grants."""
    return (error.retry_after or 0.0) > LONGEST_ASKED


def report_failure(sink: str, error: SinkUnavailableError, wait: float, *, attempt: int) -> None:
    """Log a failed attempt: the first as a warning, and a pause that is shorter than asked for."""
    if attempt == 1:
        _logger.warning(
            "%s; records wait in the table, and are sent when it is available", error.message
        )
    else:
        _logger.debug("%s; retrying in %.1f s", error.message, wait)
    if is_capped(error):
        _logger.warning(
            "%s asked for a pause of %.0f s, more than the relay grants: retrying in %.0f s",
            *(sink, error.retry_after, wait),
        )


def report_refusal(item: Item, reason: str) -> None:
    """Log that the sink refuses a record or a checkpoint."""
    if isinstance(item, SealedRow):
        _logger.error("record %s is quarantined: %s", item.event_id, reason)
    else:
        _logger.error("the checkpoint of size %d is refused: %s", item.size, reason)


def report_false_cursors(sink: str, stored: Cursors, start: Cursors) -> None:
    """Log that cursors in the database cannot be those that a relay stored."""
    _logger.error(
        "invalid cursor of the sink %s in audit_delivery (sent_seq %d, safe_seq %d): something "
        "other than the relay changed it, or the newest rows were removed; delivery starts "
        "again after row %d",
        *(sink, stored.sent, stored.safe, start.sent),
    )
