"""Times and memory of a baseline: an application with a million rows adopts the trail.

    .venv/bin/python benchmarks/baseline.py [--rows 1000000] [--database sqlite] [--json]

Each step is a process of its own. The baseline is killed (SIGKILL) once half of the rows are
recorded, resumed, and run once more, which must record nothing. Then everything is sealed, and
`verify --state`, `history` and `as_of` must hold. The verdict: every row has exactly one event, and
a baseline needs at most 50 MiB more than its process had when it began.
"""

# ruff: noqa: T201, S311 (a script, which prints, and draws samples)

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import ColumnElement, Engine, create_engine, func, literal_column, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from auditspan import Actor, AuditTrail, audit_context
from auditspan.seal import Sealer
from auditspan.storage import snapshot
from auditspan.verify import check_state, verify_trail
from million import memory_kib
from support.postgres import empty_database
from trusting.trails import KEY, MAC

MAX_MIB = 50
"""The goal for the memory of a baseline, above that of its process when it began."""

SAMPLES = 100
"""Objects whose history and state are read."""


class Base(DeclarativeBase):
    """The models of the application."""


class Invoice(Base):
    """A table of six columns."""

    __tablename__ = "invoice"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    amount: Mapped[Decimal]
    note: Mapped[str | None]
    issued_at: Mapped[datetime]
    is_paid: Mapped[bool]


_NUMBERS = {
    "sqlite": "WITH RECURSIVE one(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM one WHERE n < :rows)"
    " SELECT n FROM one",
    "postgresql": "SELECT n FROM generate_series(1, :rows) AS one(n)",
}
_FILL = """
INSERT INTO invoice (id, customer, amount, note, issued_at, is_paid)
SELECT n, 'customer ' || n % 1000, n / 100.0, 'note of invoice ' || n,
    CAST('2026-01-01 12:00:00' AS {timestamp}), n % 3 = 0
FROM ({numbers}) AS numbers
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A database with rows, and their number."""

    rows: int
    database_url: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run; memory in MiB, of its process when it began and at its peak."""

    name: str
    rows: int
    seconds: float
    cpu_seconds: float
    start_mib: float
    peak_mib: float

    @property
    def reached(self) -> bool:
        """Return whether a baseline needed no more memory than allowed."""
        return "baseline" not in self.name or self.peak_mib - self.start_mib <= MAX_MIB

    def line(self) -> str:
        """For people."""
        growth = self.peak_mib - self.start_mib
        goal = f"; goal {MAX_MIB} MiB: {'reached' if self.reached else 'MISSED'}"
        return (
            f"{self.name:18} {self.rows:10,} rows {self.seconds:8.1f} s "
            f"(CPU {self.cpu_seconds:6.1f}) {self.rows / self.seconds:9,.0f} /s   "
            f"peak {self.peak_mib:6.1f} MiB, {growth:5.1f} above the start"
            f"{goal if 'baseline' in self.name else ''}"
        )


class Application:
    """The application after it has adopted the trail."""

    def __init__(self, place: Place) -> None:
        self.engine: Engine = create_engine(place.database_url)
        self.sessions = sessionmaker(self.engine)
        self.trail = AuditTrail(self.sessions, metadata=Base.metadata, mac_key=MAC)
        self.rows = place.rows

    def recorded(self) -> int:
        """The number of events."""
        return self._ask(func.count())

    def reached(self) -> int:
        """The id of the newest event, which is quicker to find."""
        return self._ask(func.max(self.trail.tables.event.c.id))

    def _ask(self, wanted: ColumnElement[int]) -> int:
        with self.engine.connect() as connection:
            found = connection.execute(select(wanted).select_from(self.trail.tables.event))
            return found.scalar_one() or 0


def fill(place: Place) -> None:
    """Create the rows, and then the trail."""
    engine = create_engine(place.database_url)
    kind = engine.dialect.name
    stamp = {"sqlite": "text", "postgresql": "timestamp"}[kind]
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        filled = _FILL.format(numbers=_NUMBERS[kind], timestamp=stamp)
        connection.execute(text(filled), {"rows": place.rows})
    if kind == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    app = Application(place)
    Base.metadata.create_all(app.engine)


def baseline(app: Application) -> int:
    """Record the rows that are not recorded; return the number of rows that were read."""
    seen: list[int] = []

    def progress(read: int, _total: int) -> None:
        seen.append(read)

    with audit_context(actor=Actor.system("adoption")), app.sessions() as session:
        app.trail.baseline(session, progress=progress)
    assert app.recorded() == app.rows  # noqa: S101 (else the figure is none)
    return sum(seen)


def seal(app: Application) -> int:
    """Seal everything."""
    sealer = Sealer(app.engine, app.trail.tables, signing_key=KEY, mac_key=MAC)
    while sealer.seal():
        pass
    return app.rows


def verify(app: Application) -> int:
    """Verify everything, and compare the tables with the trail."""
    with snapshot(app.engine) as connection:
        report = verify_trail(connection, app.trail.tables, MAC, [KEY.public])
        state = check_state(connection, app.trail.tables, Base.metadata, mac_key=MAC)
    assert (report.ok, report.tree_size) == (True, app.rows)  # noqa: S101
    assert (state.ok, state.objects) == (True, app.rows)  # noqa: S101
    return app.rows


def read(app: Application) -> int:
    """Read history and state of some objects."""
    with app.sessions() as session:
        for number in random.Random(14).sample(range(1, app.rows + 1), SAMPLES):
            (event,) = app.trail.history(session, Invoice, number)
            found = app.trail.as_of(session, Invoice, number, datetime.now(UTC))
            assert found is not None and found["note"] == event.new["note"]  # noqa: S101, PT018
            assert found["note"] == f"note of invoice {number}"  # noqa: S101
    return SAMPLES


STEPS: dict[str, Callable[[Application], int]] = {
    "baseline": baseline,
    "resumed baseline": baseline,
    "baseline again": baseline,
    "seal": seal,
    "verify --state": verify,
    "history, as_of": read,
}


def run(name: str, place: Place, pipe: Pipe) -> None:
    """Run a step, and send its figures."""
    app = Application(place)
    with Session(app.engine) as session:
        session.execute(select(literal_column("1")))
    start, began, spent = memory_kib("VmRSS"), time.perf_counter(), time.process_time()
    rows = STEPS[name](app)
    figures = Step(
        name=name,
        rows=rows,
        seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - spent,
        start_mib=start / 1024,
        peak_mib=memory_kib("VmHWM") / 1024,
    )
    pipe.send(figures)


def measured(name: str, place: Place) -> Step:
    """Run a step in a new process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(name, place, theirs))
    process.start()
    theirs.close()
    try:
        found: Step = ours.recv()
    except EOFError:
        raise SystemExit(f"{name} failed") from None
    process.join()
    return found


def kill_halfway(place: Place) -> str:
    """Start a baseline, and kill it when half of the rows are recorded."""
    app, context = Application(place), get_context("spawn")
    _, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run, args=("baseline", place, theirs))
    process.start()
    began = time.perf_counter()
    while process.is_alive() and (found := app.reached()) < place.rows // 2:
        began = began if found else time.perf_counter()
        time.sleep(0.2)
    process.kill()
    process.join()
    seconds, found = time.perf_counter() - began, app.recorded()
    app.engine.dispose()
    return (
        f"killed after {found:,} of {place.rows:,} rows and {seconds:.1f} s: "
        f"{found / seconds:,.0f} /s"
    )


@contextmanager
def prepared(kind: str, rows: int) -> Iterator[Place]:
    """A database with old rows, and an empty trail."""
    with TemporaryDirectory() as folder, empty_database() as server:
        url = server if kind == "postgresql" else f"sqlite:///{Path(folder) / 'shop.db'}"
        place = Place(rows=rows, database_url=url)
        process = get_context("spawn").Process(target=fill, args=(place,))
        process.start()
        process.join()
        yield place


def main() -> None:
    """Measure, and print a line for each step."""
    parser = argparse.ArgumentParser(description="Measure a baseline of a large table.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    given = parser.parse_args()
    missed = False
    for kind in given.database or ("sqlite", "postgresql"):
        with prepared(kind, given.rows) as place:
            killed = kill_halfway(place)
            if not given.json:
                print(f"{kind}: {killed}", flush=True)
            for name in list(STEPS)[1:]:
                step = measured(name, place)
                missed |= not step.reached
                shown = {"database": kind, **asdict(step)}
                print(json.dumps(shown) if given.json else step.line(), flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
