"""While a batch is in flight the next one is read, and none is skipped or sent out of order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import event

from auditspan.delivery.batch_reader import MAX_RECORDS
from auditspan.delivery.log_record import ExportRecord
from auditspan.errors import SinkUnavailableError
from auditspan.telemetry import semconv
from integration.trust.world import Trail
from support.patience import PATIENCE
from support.relaying import relaying, wait_for

ROWS = 2 * MAX_RECORDS + 100


class Receiver:
    """A sink that keeps the numbers of the rows, and does something before each batch.

    Attributes:
        taken: the numbers of the rows, in order.
        batches: the number of batches so far, failed ones included.
        threads: the threads that have sent at the same time, at most.
    """

    name = "receiver"

    def __init__(self, before: Callable[[int], None]) -> None:
        self.taken: list[int] = []
        self.batches = 0
        self.threads = 0
        self._before = before
        self._busy = 0

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Take a batch."""
        self._busy += 1
        self.threads = max(self.threads, self._busy)
        try:
            self.batches += 1
            self._before(self.batches)
            numbers = (record.attributes.get(semconv.SEQUENCE_NUMBER) for record in records)
            self.taken += [number for number in numbers if isinstance(number, int)]
        finally:
            self._busy -= 1

    def close(self) -> None:
        """Nothing."""


def test_next_batch_is_read_while_one_is_in_flight(fresh: Trail) -> None:
    """The first batch is acknowledged only after the second was read."""
    reads = threading.Semaphore(0)

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "audit_event" in statement:
            reads.release()

    waited: list[bool] = []

    def wait_for_read(batch: int) -> None:
        if batch == 1:
            while reads.acquire(blocking=False):  # those before this batch
                pass
            waited.append(reads.acquire(timeout=PATIENCE))

    fresh.write(ROWS)
    fresh.seal(batch=1000)
    event.listen(fresh.engine, "after_cursor_execute", count)
    receiver = Receiver(wait_for_read)
    fresh.deliver(receiver)
    assert ([True], [*range(ROWS)]) == (waited, receiver.taken)


def test_failed_batches_are_sent_again_before_the_prepared_ones(fresh: Trail) -> None:
    """Every second sending fails, and still every row comes, in order, by one thread at a time."""

    def fail(batch: int) -> None:
        if batch % 2 and batch < 12:
            raise SinkUnavailableError("busy", retry_after=0.01)

    fresh.write(ROWS)
    fresh.seal(batch=1000)
    receiver = Receiver(fail)
    with relaying(fresh.engine, fresh.tables, receiver):
        wait_for(lambda: receiver.taken[-1:] == [ROWS - 1])
    assert [*range(ROWS)] == list(dict.fromkeys(receiver.taken))
    assert 1 == receiver.threads
