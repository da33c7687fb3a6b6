"""Timed writes. Objects that they need are made, or loaded, before the clock starts."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

from sqlalchemy import Executable, select, text, update
from sqlalchemy.orm import Session

from capturing.accounts import values_of
from capturing.setup import Setup

Prepare = Callable[[Setup, Session, int], Any]
Run = Callable[[Setup, Session, Any], None]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One way of writing.

    Attributes:
        name: as `--only` and `--json` know it.
        title: in words.
        size: rows that are written.
        at_most: the goal, by database: times the floor.
    """

    name: str
    title: str
    size: int
    at_most: Mapping[str, float]
    prepare: Prepare
    run: Run

    def measure(self, setup: Setup, size: int) -> dict[str, float]:
        """Run it once on `size` rows.

        Returns:
            The seconds it took, those in which this process used a CPU (the database's are not
            among them, and neither is waiting for a disk), and how many rows were captured.
        """
        with setup.sessions() as session:
            prepared = self.prepare(setup, session, size)
            before = setup.captured()
            gc.collect()
            start, cpu = perf_counter(), process_time()
            self.run(setup, session, prepared)
            seconds, cpu = perf_counter() - start, process_time() - cpu
        return {"seconds": seconds, "cpu": cpu, "captured": setup.captured() - before}


def _new(setup: Setup, _session: Session, size: int) -> list[Any]:
    return [setup.model(**values_of(number)) for number in range(size)]


def _loaded(setup: Setup, session: Session, size: int) -> list[Any]:
    made = _new(setup, session, size)
    session.add_all(made)
    session.commit()
    ids = [account.id for account in made]
    session.expunge_all()
    accounts = session.scalars(select(setup.model).where(setup.model.id.in_(ids))).all()
    session.commit()
    return list(accounts)


def _detached(setup: Setup, session: Session, size: int) -> list[Any]:
    accounts = _loaded(setup, session, size)
    session.expunge_all()
    return accounts


def _many(setup: Setup, _session: Session, size: int) -> int:
    return setup.make_many(size)


def _insert_commits(setup: Setup, _session: Session, accounts: list[Any]) -> None:
    for account in accounts:
        with setup.sessions() as session:
            session.add(account)
            session.commit()


def _insert_flush(_setup: Setup, session: Session, accounts: list[Any]) -> None:
    session.add_all(accounts)
    session.commit()


def _update_commits(setup: Setup, _session: Session, accounts: list[Any]) -> None:
    for account in accounts:
        with setup.sessions() as session:
            session.add(account)
            account.balance += 1
            session.commit()


def _update_flush(_setup: Setup, session: Session, accounts: list[Any]) -> None:
    for account in accounts:
        account.balance += 1
    session.commit()


def _bulk_update(setup: Setup, session: Session, after: int) -> None:
    model = setup.model
    statement = update(model).where(model.id > after).values(balance=model.balance + 1)
    _execute(setup, session, statement)


def _raw_update(setup: Setup, session: Session, after: int) -> None:
    sql = "UPDATE account SET balance = balance + 1 WHERE id > :after"
    _execute(setup, session, text(sql).bindparams(after=after))


def _execute(setup: Setup, session: Session, statement: Executable) -> None:
    result: Any = session.execute(statement)
    if setup.after_statement:
        setup.after_statement(session, result.rowcount)
    session.commit()


_ONE_ROW = {"SQLite": 1.3, "PostgreSQL": 1.3}
_INSERTS = {"SQLite": 1.6, "PostgreSQL": 1.6}
_UPDATES = {"SQLite": 2.0, "PostgreSQL": 2.0}
_STATEMENT = {"SQLite": 1.5, "PostgreSQL": 2.0}

_ALL = (
    Workload(
        name="insert-commits",
        title="500 commits of one insert",
        size=500,
        at_most=_ONE_ROW,
        prepare=_new,
        run=_insert_commits,
    ),
    Workload(
        name="update-commits",
        title="500 commits of one one-column update",
        size=500,
        at_most=_ONE_ROW,
        prepare=_detached,
        run=_update_commits,
    ),
    Workload(
        name="insert-flush",
        title="one commit of 500 inserts",
        size=500,
        at_most=_INSERTS,
        prepare=_new,
        run=_insert_flush,
    ),
    Workload(
        name="update-flush",
        title="one commit of 500 updates",
        size=500,
        at_most=_UPDATES,
        prepare=_loaded,
        run=_update_flush,
    ),
    Workload(
        name="bulk-update",
        title="one bulk update() of 10,000 rows",
        size=10_000,
        at_most=_STATEMENT,
        prepare=_many,
        run=_bulk_update,
    ),
    Workload(
        name="raw-update",
        title="one raw SQL UPDATE of 10,000 rows",
        size=10_000,
        at_most=_STATEMENT,
        prepare=_many,
        run=_raw_update,
    ),
    Workload(
        name="large-update",
        title="one bulk update() of 100,000 rows",
        size=100_000,
        at_most=_STATEMENT,
        prepare=_many,
        run=_bulk_update,
    ),
)

WORKLOADS = {workload.name: workload for workload in _ALL}
BULK = "bulk-update"
