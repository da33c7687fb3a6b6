"""The worker: sealer and relay side by side, as a process of its own or as two threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from sqlalchemy import Engine, func, select

from auditspan.delivery import load_cursors
from auditspan.mac import MacKey
from auditspan.note import SigningKey
from auditspan.relay import Relay
from auditspan.sealer import Sealer
from auditspan.sinks import Sink
from auditspan.tables import AuditTables

SEAL_INTERVAL = 0.25
"""Seconds between two passes of the sealer when there is nothing to do."""

SWEEP_INTERVAL = 600.0
"""Seconds between two looks for rows that the sealer would never come upon."""

_logger = logging.getLogger(__name__)


class Worker:
    """Seals committed rows and relays them to a sink.

    Its own HTTP and SQL leave no telemetry: a relay that traced itself would never be idle.
    """

    def __init__(  # noqa: PLR0913 (keyword-only, each with a default)
        self,
        engine: Engine,
        tables: AuditTables,
        sink: Sink,
        *,
        interval: float = SEAL_INTERVAL,
        signing_key: SigningKey | Sequence[SigningKey] | None = None,
        mac_key: MacKey | Sequence[MacKey] | None = None,
    ) -> None:
        self._engine = engine
        self._tables = tables
        self._sink = sink
        self._interval = interval
        self._sealer = Sealer(engine, tables, signing_key=signing_key, mac_key=mac_key)
        self._relay = Relay(engine, tables, sink)
        self._stop = threading.Event()
        self._threads = (
            threading.Thread(target=self._seal, name="auditspan-sealer"),
            threading.Thread(target=self._deliver, name="auditspan-relay"),
        )

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the batch under way and end both threads. What is left waits in the table."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._sink.close()

    def drain(self, seconds: float) -> bool:
        """Wait until every committed row is delivered; whether that came true in time."""
        deadline = time.monotonic() + seconds
        while not self.is_caught_up():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def is_caught_up(self) -> bool:
        """Whether every row that is committed now is sealed and acknowledged."""
        with quiet(), self._engine.connect() as connection:
            rows = connection.execute(
                select(func.count()).select_from(self._tables.event)
            ).scalar_one()
            cursors = load_cursors(connection, self._tables, self._sink.name)
        return cursors.sent + 1 >= rows

    def _seal(self) -> None:
        swept = time.monotonic() - SWEEP_INTERVAL
        with quiet():
            while not self._stop.is_set():
                sealed = self._attempt(self._sealer.seal)
                if not sealed and time.monotonic() - swept >= SWEEP_INTERVAL:
                    self._attempt(self._sealer.sweep)
                    swept = time.monotonic()
                if not sealed:
                    self._stop.wait(self._interval)

    def _attempt(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except Exception:  # a worker must outlive whatever the database does
            _logger.exception("sealing failed; it will be tried again")
            return 0

    def _deliver(self) -> None:
        with quiet():
            self._relay.run(self._stop, idle=self._interval)


@contextmanager
def quiet() -> Iterator[None]:
    """No instrumentation of what happens inside."""
    token = context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
    try:
        yield
    finally:
        context.detach(token)
