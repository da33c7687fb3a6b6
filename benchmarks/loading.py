"""A trail for measurements, and a steady load on it beside a worker."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, MetaData, text

from auditspan.delivery import Relay
from auditspan.delivery.worker import Worker
from auditspan.seal import Sealer
from auditspan.storage import AuditTables, audit_tables, insert_records, snapshot
from auditspan.verify import verify_trail
from auditspan_service.database.engine import make_engine
from trusting.relaying import EncodingSink
from trusting.trails import KEY, MAC, record

PATIENCE = 6
"""Times as long as the load lasts, the worker may take for what is left."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A trail on PostgreSQL."""

    engine: Engine
    tables: AuditTables

    def write(self, count: int) -> None:
        """Commit rows, a hundred at a time."""
        for start in range(0, count, 100):
            with self.engine.begin() as connection:
                rows = [record(start + n) for n in range(min(100, count - start))]
                insert_records(connection, self.tables, rows, MAC)

    def seal(self) -> None:
        """Seal everything."""
        sealer = Sealer(self.engine, self.tables, signing_key=KEY, mac_key=MAC)
        while sealer.seal():
            pass

    def relay(self) -> None:
        """Relay everything to a sink that encodes, and keeps nothing."""
        with self.engine.connect() as connection:
            Relay(self.engine, self.tables, EncodingSink()).deliver(connection)

    def verify(self) -> None:
        """Verify everything."""
        with snapshot(self.engine) as connection:
            assert verify_trail(connection, self.tables, MAC, [KEY.public]).ok  # noqa: S101

    def ask(self, query: str) -> Any:  # noqa: ANN401 (one value of any type)
        """One value."""
        with self.engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()

    def do(self, *statements: str) -> None:
        """Execute statements."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))


def rate(count: int, work: Callable[[], object], tries: int = 1) -> float:
    """Return the best rate per second of some tries: others use this machine, too."""
    best = 0.0
    for _ in range(tries):
        began = time.perf_counter()
        work()
        best = max(best, count / (time.perf_counter() - began))
    return best


def steady_load(made: Place, per_second: int, seconds: float) -> list[tuple[int, ...]]:
    """COPY at a rate beside a worker: seconds, and what was written, sealed and relayed by then."""
    url = made.engine.url.render_as_string(hide_password=False)
    stop = multiprocessing.Event()
    worker = multiprocessing.Process(target=run_worker, args=(url, stop))
    writer = multiprocessing.Process(target=copy, args=(url, per_second, seconds))
    worker.start()
    writer.start()
    lines: list[tuple[int, ...]] = []
    began = time.monotonic()
    while not lines or writer.is_alive() or lines[-1][1] > lines[-1][3]:
        time.sleep(2)
        counts = [made.ask(query) for query in COUNTS]
        lines.append((round(time.monotonic() - began), *counts))
        if lines[-1][0] > PATIENCE * seconds:
            break
    stop.set()
    for process in (worker, writer):
        process.join()
    return lines


COUNTS = (
    "SELECT coalesce(max(id), 0) FROM audit_event",
    "SELECT coalesce(max(seq) + 1, 0) FROM audit_leaf",
    "SELECT coalesce(max(sent_seq) + 1, 0) FROM audit_delivery",
)


def run_worker(url: str, stop: Any) -> None:  # noqa: ANN401 (an Event of multiprocessing)
    """A worker, as a deployment has one."""
    with database_at(url) as made:
        worker = Worker(made.engine, made.tables, EncodingSink(), signing_key=KEY, mac_key=MAC)
        worker.start()
        stop.wait()
        worker.stop()


def copy(url: str, per_second: int, seconds: float) -> None:
    """Write at a rate, as quick as PostgreSQL takes rows: COPY, ten commits a second."""
    with database_at(url) as made:
        columns = [column.name for column in made.tables.event.columns][3:]
        batch = [copied(number, columns) for number in range(per_second // 10)]
        began = time.monotonic()
        for turn in range(int(10 * seconds)):
            with made.engine.begin() as connection:
                driver: Any = connection.connection.driver_connection
                names = ", ".join(columns)
                with driver.cursor().copy(f"COPY audit_event ({names}) FROM STDIN") as pipe:
                    for row in batch:
                        pipe.write_row((fresh_id(), *row[1:]))
            time.sleep(max(0.0, began + (turn + 1) / 10 - time.monotonic()))


def copied(number: int, columns: Sequence[str]) -> list[Any]:
    """Return the columns of a row; the event id in its body, which is never read, is another."""
    made = record(number)
    body = made.body()
    plain: dict[str, Any] = {
        "event_id": made.event_id,
        "occurred_at": made.occurred_at,
        "actor_type": made.actor.type,
        "actor_id": made.actor.id,
        "target_type": "user",
        "target_id": str(number),
        "body": body,
        "mac": MAC.sign(body),
        "mac_key_id": MAC.key_id,
    }
    return [plain.get(name, getattr(made, name, None)) for name in columns]


def fresh_id() -> str:
    """A version 7 UUID."""
    return record(0).event_id


@contextmanager
def database_at(url: str) -> Iterator[Place]:
    """The trail at this URL, for another process."""
    engine = make_engine(url)
    try:
        yield Place(engine=engine, tables=audit_tables(MetaData()))
    finally:
        engine.dispose()
