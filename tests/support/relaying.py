"""A relay at work in a thread, and waiting for what it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from auditspan.delivery.relay import Relay
from auditspan.delivery.sinks import Sink
from auditspan.storage.tables import AuditTables
from support.patience import PATIENCE


@contextmanager
def relaying(
    engine: Engine, tables: AuditTables, sink: Sink, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """A relay that runs for the length of a `with` block; the sink is closed after it."""
    stop = threading.Event()
    relay = Relay(engine, tables, sink, clock=clock)
    thread = threading.Thread(target=relay.run, args=(stop,), kwargs={"idle": 0.02})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        sink.close()


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
