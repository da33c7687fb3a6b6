"""Worker that records changes that no application has drained."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import Engine, inspect

from auditspan.capture import BATCH, Capture, Recorder, record_undrained, unknown_tables
from auditspan.format import Keyring, MacKeys, Service
from auditspan.mapping import privacy_of
from auditspan.storage import AuditTables, staging_of
from auditspan.telemetry import RetryLog

INTERVAL = 1.0
"""Seconds between two polls when nothing is waiting."""

_logger = logging.getLogger(__name__)


class Undrained:
    """Worker for changes committed by another program, under AUTOCOMMIT, or by a raw driver.

    Two may run side by side: each change is recorded once.

    Args:
        engine: the database.
        tables: the audit tables, in the metadata of the application's models. Rows of other tables
            stay where they are, and are reported once for each table.
        mac_key: the key of the records; if there are several, the first is used.
    """

    def __init__(
        self,
        engine: Engine,
        tables: AuditTables,
        *,
        mac_key: MacKeys = None,
    ) -> None:
        self._engine = engine
        self._metadata = tables.event.metadata
        self._reported: set[str] = set()
        self._capture = Capture(
            tables=tables,
            recorder=Recorder(
                service=Service(name="auditspan-worker"),
                strict=False,
                privacy=privacy_of(self._metadata),
            ),
            mac_key=Keyring(mac_key).newest,
            announce=lambda _records, _counts: None,
        )

    def run(self, stop: threading.Event) -> None:
        """Record waiting changes until stopped; log errors and retry."""
        log = RetryLog(_logger, "recording of undrained changes")
        while not stop.is_set():
            try:
                recorded = self.record()
                log.succeeded()
            except Exception as error:  # noqa: BLE001 (a worker must survive any database error)
                recorded = 0
                log.failed(error, INTERVAL)
            stop.wait(0.0 if recorded == BATCH else INTERVAL)

    def record(self) -> int:
        """Record the oldest waiting changes, at most 2,000; return their number."""
        staging = staging_of(self._metadata)
        if staging is None:
            return 0
        with self._engine.begin() as connection:
            schema = connection.schema_for_object(staging)
            if not inspect(connection).has_table(staging.name, schema):
                return 0
            recorded = record_undrained(connection, self._capture)
            if not recorded:
                self._report(unknown_tables(connection, self._metadata))
        return recorded

    def _report(self, unknown: dict[str, int]) -> None:
        for table in sorted(unknown.keys() - self._reported):
            _logger.error(
                "%d changes of the table %s are staged, but this worker knows no audited model of "
                "it, so they are kept: import the models in the worker",
                unknown[table],
                table,
            )
        self._reported |= unknown.keys()
