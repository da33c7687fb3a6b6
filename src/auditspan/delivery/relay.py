"""The relay: sends sealed rows to a sink in sequence order until the sink has acknowledged them.

    1. read the next batch after the cursor      at most 1,024 records, about 1 MiB
    2. send it                                   one batch in flight; the next one is prepared
    3. acknowledged: move the cursor
       unavailable: move back to the safe cursor, wait, retry without limit
       rejected: halve the batch until the single record is found, and quarantine it

The cursor is saved after the first batch, four times a second while sending, and when there is
nothing more to send, because a commit waits for the disk.

A relay starts after the last acknowledged row, so even relays that crash repeatedly deliver a
backlog. In addition it sends rows again that no relay has confirmed, see `progress.Unconfirmed`.

A record is sent again after a crash or a transport error: at least once, under the same id. Signed
checkpoints follow the rows that they cover, and the newest one is sent again after a minute without
a checkpoint, so the collector's file distinguishes a trail without new rows from a lost connection.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Connection, Engine

from auditspan.delivery.backoff import Backoff
from auditspan.delivery.batch import UNFIT, Batch, Refused, count_rows, prepare, send_all
from auditspan.delivery.batch_reader import MAX_RECORDS, BatchReader
from auditspan.delivery.cursors import (
    NOTHING,
    Cursors,
    load_cursors,
    newest_checkpoint,
    quarantine,
    report_purged,
    save_cursors,
    stored_cursors,
)
from auditspan.delivery.in_flight import InFlight
from auditspan.delivery.log_record import checkpoint_record
from auditspan.delivery.progress import Progress
from auditspan.delivery.reports import (
    is_capped,
    report_failure,
    report_false_cursors,
    report_refusal,
)
from auditspan.delivery.sinks import Sink
from auditspan.delivery.status import Attempts, save_status
from auditspan.errors import SinkRejectedError, SinkUnavailableError
from auditspan.format import SealedRow
from auditspan.storage import AuditTables, kept_alive
from auditspan.storage.locks import RELAY, Lease, LeaseLostError, StoredLease, holding
from auditspan.telemetry import RelayMeters, RetryLog

HEARTBEAT = 60.0
"""Seconds without a checkpoint after which the newest one is sent again."""

_logger = logging.getLogger(__name__)


class Relay:
    """Relay to one sink; any number may run against one database, one works at a time."""

    def __init__(
        self,
        engine: Engine,
        tables: AuditTables,
        sink: Sink,
        *,
        clock: Callable[[], float] = time.monotonic,
        trail: str | None = None,
    ) -> None:
        self._reader = BatchReader(tables=tables, trail=trail)
        self._following: Batch | None = None
        self._engine = engine
        self._tables = tables
        self._sink = sink
        self._clock = clock
        self._attempts = Attempts()
        self._meters = RelayMeters(sink.name, getattr(sink, "acknowledgement", None))
        self._lease: Lease | None = None
        self._waits_for = ""
        self._log = RetryLog(_logger, f"delivery to {sink.name}")

    def run(self, stop: threading.Event, *, idle: float = 0.25) -> None:
        """Deliver until `stop` is set, whatever fails; finish a batch that is in flight first."""
        backoff = Backoff(first=idle)
        while not stop.is_set():
            wait = idle
            try:
                with self._engine.connect() as connection:
                    self._try_to_lead(connection, stop, idle)
                backoff.reset()
                self._log.succeeded()
            except LeaseLostError as error:
                _logger.warning("%s; this relay stands by", error)
            except Exception as error:  # noqa: BLE001 (a worker must survive any database error)
                wait = backoff.next()
                self._log.failed(error, wait)
            stop.wait(wait)

    def _try_to_lead(self, connection: Connection, stop: threading.Event, idle: float) -> None:
        """Deliver while holding the lease."""
        name = f"{RELAY}.{self._sink.name}"
        with holding(self._engine, connection, self._tables, name) as lease:
            if isinstance(lease, StoredLease):
                self._stand_by(lease)
                return
            self._lease, self._waits_for = lease, ""
            try:
                self._lead(connection, stop, idle)
            finally:
                self._lease = None

    def _stand_by(self, lease: StoredLease) -> None:
        """Log, once for each leader, which process delivers to the sink."""
        if not lease.is_vacant and lease.key != self._waits_for:
            self._waits_for = lease.key
            _logger.info("standing by: %s delivers to %s", lease.description, self._sink.name)

    def _require_lease(self) -> None:
        if self._lease:
            self._lease.require_current()

    def _fence(self, connection: Connection) -> None:
        """Let this transaction commit only while no other relay leads."""
        if self._lease:
            self._lease.renew(connection)

    def deliver(self, connection: Connection) -> int:
        """Send all rows after the safe cursor; return the number of acknowledged records.

        Raises:
            SinkUnavailableError: the sink is unavailable.
        """
        progress = self._begin(connection)
        progress.rewind()
        delivered = 0
        try:
            while sent := self._step(connection, progress):
                delivered += sent
        except SinkUnavailableError as error:
            self._attempts.failed(error, self._clock())
            self._save(connection, progress)
            raise
        return delivered

    def _lead(self, connection: Connection, stop: threading.Event, idle: float) -> None:
        progress = self._begin(connection)
        self._log.succeeded()
        while not stop.is_set():
            try:
                sent = self._step(connection, progress)
                if not sent:
                    self._beat(connection, progress)
                wait = 0.0 if sent else idle
            except SinkUnavailableError as error:
                wait = self._failed(error)
                progress.rewind()
                self._save(connection, progress)
            stop.wait(wait)
        if progress.is_due(self._clock(), is_busy=False):
            self._save(connection, progress)

    def _begin(self, connection: Connection) -> Progress:
        """Start after the last acknowledged row, with unconfirmed rows to send again."""
        self._following = None
        with connection.begin():
            name = self._sink.name
            stored = stored_cursors(connection, self._tables).get(name, Cursors())
            cursors = load_cursors(connection, self._tables, name)
            self._fence(connection)
            # If cursors cannot be saved, fail here, before anything is sent repeatedly.
            save_cursors(connection, self._tables, name, cursors)
            report_purged(connection, self._tables, name, cursors.sent)
        if cursors != stored:
            report_false_cursors(self._sink.name, stored, cursors)
        return Progress.begun(cursors, self._clock())

    def _failed(self, error: SinkUnavailableError) -> float:
        """Note and report a failed attempt; return the seconds to wait."""
        wait = self._attempts.failed(error, self._clock())
        self._meters.failed()
        report_failure(self._sink.name, error, wait, attempt=self._attempts.failures)
        if is_capped(error):
            self._meters.retry_after_capped()
        return wait

    def _step(self, connection: Connection, progress: Progress) -> int:
        """Send the next batch and one of unconfirmed rows; return the number of rows."""
        self._require_lease()
        progress.settle(self._clock())
        following = self._next(connection, progress)
        sent = self._send(connection, progress, following, progress.acknowledged)
        unconfirmed = self._unconfirmed(connection, progress)
        return sent + self._send(connection, progress, unconfirmed, progress.repeated)

    def _send(
        self,
        connection: Connection,
        progress: Progress,
        batch: Batch,
        acknowledged: Callable[[int, float], None],
    ) -> int:
        """Send a batch, note its acknowledgement, save if due; return the number of rows."""
        rows = batch.rows
        refused: Refused = []
        if rows:
            self._require_lease()
            refused = self._transmit(connection, batch, rows[-1].seq)
            self._attempts.acknowledged(len(rows) - count_rows(refused), self._clock())
            acknowledged(rows[-1].seq, self._clock())
            if len(rows) < len(batch.items):
                progress.witnessed_at = self._clock()
        if refused or progress.is_due(self._clock(), is_busy=bool(rows)):
            self._save(connection, progress, refused)
        return len(rows)

    def _transmit(self, connection: Connection, batch: Batch, last: int) -> Refused:
        """Send a batch, and prepare the next one meanwhile if there is more than this one."""
        with InFlight(partial(self._export, batch)) as sending:
            if batch.newest > last:
                self._following = self._reader.read(connection, last)
            return sending.refused(connection)

    def _export(self, batch: Batch) -> Refused:
        started = self._clock()
        refused = send_all(self._sink, batch)
        self._meters.exported(len(batch.rows) - count_rows(refused), self._clock() - started)
        return refused

    def _next(self, connection: Connection, progress: Progress) -> Batch:
        """Return the batch after the cursor: the one prepared, unless the cursor has moved back."""
        sent = progress.cursors.sent
        prepared, self._following = self._following, None
        is_next = prepared is not None and prepared.items and prepared.after == sent
        batch = prepared if prepared and is_next else self._reader.read(connection, sent)
        if sent > batch.newest:
            before = progress.cursors
            progress.limit_to(batch.newest)
            report_false_cursors(self._sink.name, before, progress.cursors)
            batch = self._reader.read(connection, progress.cursors.sent)
        self._meters.queued(batch.newest - progress.cursors.sent)
        self._meters.oldest(batch.age)
        return batch

    def _unconfirmed(self, connection: Connection, progress: Progress) -> Batch:
        """Return the next rows to send again, if any are due."""
        limit = min(progress.repeatable, MAX_RECORDS)
        if not limit:
            return prepare([])
        batch = self._reader.read(connection, progress.unconfirmed.repeated, limit)
        if not batch.items:  # the rows were removed
            progress.repeated(progress.unconfirmed.last, self._clock())
        return replace(batch, newest=NOTHING)  # the next batch does not follow this one

    def _beat(self, connection: Connection, progress: Progress) -> None:
        """Send the newest checkpoint again after `HEARTBEAT` seconds without one."""
        if self._clock() - progress.witnessed_at < HEARTBEAT:
            return
        with connection.begin():
            newest = newest_checkpoint(connection, self._tables)
        if newest is not None and newest.size <= progress.cursors.sent + 1:
            self._require_lease()
            try:
                with kept_alive(connection):
                    self._sink.send([checkpoint_record(newest, observed=datetime.now(UTC))])
                self._attempts.acknowledged(0, self._clock())
            except (SinkRejectedError, *UNFIT) as error:
                report_refusal(newest, str(error))
        progress.witnessed_at = self._clock()
        self._save(connection, progress)  # a sign of life, in `updated_at`

    def _save(
        self, connection: Connection, progress: Progress, refused: Refused | None = None
    ) -> None:
        with connection.begin():
            self._fence(connection)
            for item, reason in refused or ():
                report_refusal(item, reason)
                if isinstance(item, SealedRow):
                    quarantine(connection, self._tables, self._sink.name, item, reason)
            save_cursors(connection, self._tables, self._sink.name, progress.cursors)
            save_status(connection, self._tables, self._sink.name, self._attempts, self._clock())
        progress.saved, progress.saved_at = progress.cursors, self._clock()
