"""The worker's part of the capture: what no application has drained becomes audit records."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine, inspect

from auditspan.capture.drain import BATCH
from auditspan.capture.leftovers import take_leftovers, unknown_tables
from auditspan.capture.recorder import Recorder
from auditspan.capture.writer import Capture
from auditspan.format import RANDOM_BYTES, MacKey, Service, uuid7
from auditspan.storage import AuditTables, staging_of

INTERVAL = 1.0
"""Seconds between two looks when nothing is waiting."""

_logger = logging.getLogger(__name__)


class Undrained:
    """Records committed changes that another program has written, or AUTOCOMMIT, or a raw driver.

    Two may run side by side: each change is recorded once.

    Args:
        engine: the database.
        tables: the audit tables, in the metadata of the application's models. Rows of other tables
            stay where they are, and are reported once for each table.
        mac_key: the key of the records; of several, the first.
    """

    def __init__(
        self,
        engine: Engine,
        tables: AuditTables,
        *,
        mac_key: MacKey | Sequence[MacKey] | None = None,
    ) -> None:
        self._engine = engine
        self._metadata = tables.event.metadata
        self._reported: set[str] = set()
        keys = [mac_key] if isinstance(mac_key, MacKey) else [*(mac_key or ())]
        self._capture = Capture(
            tables=tables,
            recorder=Recorder(
                service=Service(name="auditspan-worker"),
                clock=lambda: datetime.now(UTC),
                new_id=lambda: uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES)),
                strict=False,
            ),
            mac_key=keys[0] if keys else None,
            announce=lambda _records, _counts: None,
        )

    def run(self, stop: threading.Event) -> None:
        """Record what is waiting, again and again; errors are logged and tried again."""
        while not stop.is_set():
            try:
                taken = self.take()
            except Exception:  # a worker must outlive whatever the database does
                taken = 0
                _logger.exception("recording undrained changes failed; it will be tried again")
            stop.wait(0.0 if taken == BATCH else INTERVAL)

    def take(self) -> int:
        """Record the oldest changes that are waiting, at most 2,000; how many there were."""
        staging = staging_of(self._metadata)
        if staging is None:
            return 0
        with self._engine.begin() as connection:
            schema = connection.schema_for_object(staging)
            if not inspect(connection).has_table(staging.name, schema):
                return 0
            taken = take_leftovers(connection, self._capture)
            if not taken:
                self._report(unknown_tables(connection, self._metadata))
        return taken

    def _report(self, unknown: dict[str, int]) -> None:
        for table in sorted(unknown.keys() - self._reported):
            _logger.error(
                "%d changes of the table %s are staged, and no model that this worker knows is "
                "audited on it: they are kept; import the models in the worker",
                unknown[table],
                table,
            )
        self._reported |= unknown.keys()
