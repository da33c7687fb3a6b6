"""The worker: sealer and relays side by side, in a process of their own or in the service."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from sqlalchemy import Engine

from auditspan.delivery import Backoff, Relay, Sink, load_cursors
from auditspan.errors import AuditConfigError
from auditspan.format import MacKeys
from auditspan.seal import UNSEALED, LastSigned, Sealer, Undrained
from auditspan.storage import (
    LEASE_PREFIX,
    PARTITIONS,
    WAITS,
    AuditTables,
    newest_size,
    staging_of,
)
from auditspan.telemetry import RetryLog
from auditspan.tlog import SigningKey

SEAL_INTERVAL = 0.25
"""Seconds between the beginnings of two passes of the sealer, unless it has a backlog.

A pass costs a transaction and a signature, however few rows it finds. If each began at the end of
the one before, it would find a few rows, and cost as much as the commits that wrote them.
"""

SWEEP_INTERVAL = 600.0
"""Seconds between two sweeps for rows that the sealer would never find."""

PARTITION_INTERVAL = 3600.0
"""Seconds between two checks for missing partitions of the months ahead."""

_logger = logging.getLogger(__name__)


class Worker:
    """Worker that seals committed rows and relays them to one or more sinks.

    Every sink has its own thread, connection and cursors, so that none delays another.

    The worker's own HTTP and SQL emit no telemetry: a relay that traced itself would never be idle.

    Args:
        engine: the database of the trail.
        tables: the audit tables.
        sink: the sink, or several sinks with different names.
        interval: seconds between two polls, unless there is a backlog.
        signing_key: signs every checkpoint; its name is the name of the trail.
        mac_key: the keys that rows may be authenticated with.
        last_signed: remembers what was signed before.
        trail_name: the name of a trail without a signing key, in each record that is delivered. It
            distinguishes the trail from others that deliver to the same collector.

    Raises:
        AuditConfigError: two sinks have the same name, one has a reserved name, or `trail_name`
            differs from the name of the signing key.
    """

    def __init__(
        self,
        engine: Engine,
        tables: AuditTables,
        sink: Sink | Sequence[Sink],
        *,
        interval: float = SEAL_INTERVAL,
        signing_key: SigningKey | Sequence[SigningKey] | None = None,
        mac_key: MacKeys = None,
        last_signed: LastSigned | None = None,
        trail_name: str | None = None,
    ) -> None:
        self._engine = engine = engine.execution_options(**WAITS)
        self._tables = tables
        self._sinks = tuple(sink) if isinstance(sink, Sequence) else (sink,)
        _require_valid_names([one.name for one in self._sinks])
        self._interval = interval
        name = _trail_name(signing_key, trail_name)
        self._sealer = Sealer(
            engine, tables, signing_key=signing_key, mac_key=mac_key, last_signed=last_signed
        )
        self._undrained = Undrained(engine, tables, mac_key=mac_key)
        self._stop = threading.Event()
        self._threads = (
            threading.Thread(target=self._seal, name="auditspan-sealer", daemon=True),
            threading.Thread(target=self._drain, name="auditspan-undrained", daemon=True),
            threading.Thread(
                target=self._create_partitions, name="auditspan-partitions", daemon=True
            ),
            *(
                threading.Thread(
                    target=self._deliver,
                    args=(Relay(engine, tables, one, trail=name),),
                    name=f"auditspan-relay-{one.name}",
                    daemon=True,
                )
                for one in self._sinks
            ),
        )

    def start(self) -> None:
        """Start the threads; they end with the process, best by `stop`."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the batches in flight and end the threads. Remaining rows wait in the table."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for sink in self._sinks:
            sink.close()

    def drain(self, seconds: float) -> bool:
        """Wait until every sink has every committed row; return False on timeout."""
        deadline = time.monotonic() + seconds
        while not self.is_caught_up():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def is_caught_up(self) -> bool:
        """Return whether every committed row is sealed, and acknowledged by every sink."""
        with quiet(), self._engine.connect() as connection:
            # In this order: a row that is sealed meanwhile is in the size, and not yet in a cursor.
            unsealed, _ = UNSEALED.of(connection).count_unsealed(connection, self._tables, 1)
            size = newest_size(connection, self._tables)
            cursors = [load_cursors(connection, self._tables, sink.name) for sink in self._sinks]
        return not unsealed and all(one.sent + 1 >= size for one in cursors)

    def _seal(self) -> None:
        backoff = Backoff(first=self._interval)
        log = RetryLog(_logger, "sealing")
        swept = time.monotonic() - SWEEP_INTERVAL
        with quiet():
            while not self._stop.is_set():
                started = time.monotonic()
                try:
                    sealed = self._sealer.seal()
                    if not sealed and time.monotonic() - swept >= SWEEP_INTERVAL:
                        swept = time.monotonic()  # even if it fails: it reads the whole table
                        self._sealer.sweep()
                    is_behind = sealed == self._sealer.batch
                    wait = 0.0 if is_behind else started + self._interval - time.monotonic()
                    backoff.reset()
                    log.succeeded()
                except Exception as error:  # noqa: BLE001 (a worker must survive any database error)
                    wait = backoff.next()
                    log.failed(error, wait)
                self._stop.wait(max(0.0, wait))

    def _drain(self) -> None:
        if staging_of(self._tables.event.metadata) is not None:
            with quiet():
                self._undrained.run(self._stop)

    def _create_partitions(self) -> None:
        """Create partitions for the coming months, if the table is partitioned."""
        partitions = PARTITIONS.of(self._engine)
        with quiet():
            while partitions.IS_SUPPORTED and not self._stop.is_set():
                try:
                    with self._engine.begin() as connection:
                        made = partitions.create_ahead(connection, self._tables.event)
                except Exception:  # the default partition takes all other rows
                    _logger.exception("creating partitions ahead failed; will retry")
                else:
                    for name in made:
                        _logger.info("created the partition %s", name)
                self._stop.wait(PARTITION_INTERVAL)

    def _deliver(self, relay: Relay) -> None:
        with quiet():
            relay.run(self._stop, idle=self._interval)


def _trail_name(keys: SigningKey | Sequence[SigningKey] | None, given: str | None) -> str | None:
    """Return the name in every delivered record: the signing key's, if there is one."""
    signers = [keys] if isinstance(keys, SigningKey) else list(keys or ())
    if signers and given not in {None, signers[0].name}:
        raise AuditConfigError(
            f"trail_name={given!r} differs from the name of the signing key, {signers[0].name!r}, "
            "which is the name of the trail: leave trail_name out"
        )
    return signers[0].name if signers else given


def _require_valid_names(names: Sequence[str]) -> None:
    """Refuse sinks whose names would make cursors ambiguous.

    Raises:
        AuditConfigError: two sinks have the same name, or one has a reserved name.
    """
    if len(set(names)) != len(names):
        raise AuditConfigError(
            "two sinks have the same name, so they would share one cursor, and one of them would "
            "get nothing: give each a name of its own, as in OtlpSink(endpoint, name=...)"
        )
    if any(name.startswith(LEASE_PREFIX) for name in names):
        raise AuditConfigError(
            f"the name of a sink begins with {LEASE_PREFIX!r}, which is reserved for leases: "
            "choose another name, as in OtlpSink(endpoint, name=...)"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress instrumentation inside the block."""
    token = context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
    try:
        yield
    finally:
        context.detach(token)
