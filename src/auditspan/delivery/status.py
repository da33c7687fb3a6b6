"""Status of the delivery to each sink: its rate and its failures, as its relay last stored them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, select, update

from auditspan.delivery.backoff import Backoff
from auditspan.errors import SinkUnavailableError
from auditspan.format import printable
from auditspan.storage import (
    AuditTables,
    StoredNumber,
    StoredText,
    UtcText,
    database_time,
    insert_counted,
)

WINDOW = 60.0
"""Seconds over which the rate is counted."""

LONGEST_ERROR = 500
"""Characters of an error that are stored."""


@dataclass(frozen=True, kw_only=True)
class DeliveryStatus:
    """Status of the delivery to one sink.

    Attributes:
        last_minute: the records that the sink acknowledged in the minute before `updated_at`.
        failures: the attempts that have failed since the last one that succeeded.
        last_error: the message of the last attempt that failed; it stays after a success.
        failed_at: when it failed, as text in UTC.
        updated_at: when this was stored, as text in UTC.
    """

    last_minute: int = 0
    failures: int = 0
    last_error: str | None = None
    failed_at: str | None = None
    updated_at: str | None = None


@dataclass(kw_only=True)
class Attempts:
    """Outcomes of the attempts of a relay since it started; all times are by the relay's clock.

    Attributes:
        backoff: the waiting times; it counts the failures since the last success.
        error: the message of the last failure and its time; None if there was none.
        recent: times and numbers of the records that were acknowledged in the last minute.
    """

    backoff: Backoff = field(default_factory=Backoff)
    error: tuple[str, float] | None = None
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def acknowledged(self, records: int, now: float) -> None:
        """Note that an attempt has succeeded, and how many records the sink acknowledged."""
        self.backoff.reset()
        self.recent.append((now, records))
        self._forget(now)

    @property
    def failures(self) -> int:
        """The attempts that have failed since the last one that succeeded."""
        return self.backoff.failures

    def failed(self, error: SinkUnavailableError, now: float) -> float:
        """Note that an attempt has failed; return the seconds to wait."""
        self.error = (printable(error.message)[:LONGEST_ERROR], now)
        return self.backoff.next(error.retry_after)

    def last_minute(self, now: float) -> int:
        """Return the number of records that were acknowledged in the last minute."""
        self._forget(now)
        return sum(records for _, records in self.recent)

    def _forget(self, now: float) -> None:
        while self.recent and self.recent[0][0] <= now - WINDOW:
            self.recent.popleft()


def save_status(
    connection: Connection, tables: AuditTables, sink: str, attempts: Attempts, now: float
) -> None:
    """Store the status of a sink, with times by the database's clock.

    An earlier error is kept until there is a new one.

    Args:
        connection: the connection to write with.
        tables: the audit tables.
        sink: the name of the sink.
        attempts: the outcomes of its relay.
        now: the time by the clock of these attempts.
    """
    table = tables.delivery_status
    stored_at = database_time(connection)
    values: dict[str, object] = {
        "last_minute": attempts.last_minute(now),
        "failures": attempts.failures,
        "updated_at": stored_at,
    }
    if attempts.error:
        message, failed = attempts.error
        values |= {"last_error": message, "failed_at": stored_at - timedelta(seconds=now - failed)}
    known = connection.execute(update(table).where(table.c.sink == sink).values(values))
    if known.rowcount == 0:
        insert_counted(connection, table, {"sink": sink, **values})


def read_status(connection: Connection, tables: AuditTables, sink: str) -> DeliveryStatus:
    """Return the stored status of a sink; that of a new sink is empty."""
    table = tables.delivery_status.c
    found = connection.execute(
        select(
            StoredNumber(table.last_minute).label("last_minute"),
            StoredNumber(table.failures).label("failures"),
            StoredText(table.last_error).label("last_error"),
            UtcText(table.failed_at).label("failed_at"),
            UtcText(table.updated_at).label("updated_at"),
        ).where(table.sink == sink)
    ).first()
    return DeliveryStatus(**found._mapping) if found else DeliveryStatus()  # noqa: SLF001 (public, by its documentation)
