"""The staging table stays small while an application commits all the time.

With AUDITSPAN_SOAK=1 for an hour, with fifty commits a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from statistics import quantiles

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, insert, text

from integration.capture.application import Application, make_application
from support.cluster import Cluster
from support.patience import PATIENCE

IS_SOAK = os.environ.get("AUDITSPAN_SOAK") == "1"
SECONDS = 3600 if IS_SOAK else PATIENCE
VACUUMS = 5
"""How many runs of autovacuum are enough, but for a soak."""

PAUSE = 0.02
"""Seconds from one commit to the next."""

MEGABYTE = 1024**2


@pytest.fixture
def application() -> Iterator[Application]:
    """Numbers on a server of its own, with autovacuum."""
    cluster = Cluster.make()
    engine = create_engine(cluster.url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for setting in ("autovacuum = on", "autovacuum_naptime = 1"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting}")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    metadata = MetaData()
    Table("number", metadata, Column("id", Integer, primary_key=True), info={"audit": True})
    yield make_application(engine, metadata)
    engine.dispose()
    cluster.destroy()


def size(engine: Engine) -> int:
    """Bytes that the staging table takes on the disk."""
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT pg_total_relation_size('audit_change')")) or 0)


def vacuums(engine: Engine) -> int:
    """How often autovacuum has run on the staging table."""
    query = "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'audit_change'"
    with engine.connect() as connection:
        return int(connection.scalar(text(query)) or 0)


def commit(application: Application, number: int) -> float:
    """Commit one row; the seconds that the COMMIT took."""
    with application.unit_of_work() as session:
        session.execute(insert(application.metadata.tables["number"]).values(id=number))
        started = time.perf_counter()
        session.commit()
        return time.perf_counter() - started


def test_the_staging_table_does_not_grow(
    application: Application, record_property: Callable[[str, object], None]
) -> None:
    """Autovacuum keeps up with the drain, and the slowest commits are not slower at the end."""
    taken: list[float] = []
    sizes: list[int] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and (IS_SOAK or vacuums(application.engine) < VACUUMS):
        for _ in range(50):
            taken.append(commit(application, len(taken)))
            if IS_SOAK:
                time.sleep(max(0.0, PAUSE - taken[-1]))
        sizes.append(size(application.engine))
    vacuumed = vacuums(application.engine)
    assert len(taken) == len(application.events())
    assert max(sizes) < 50 * MEGABYTE
    assert vacuumed >= VACUUMS
    if IS_SOAK:
        fourth = len(taken) // 4
        first, last = (quantiles(part, n=100)[98] for part in (taken[:fourth], taken[-fourth:]))
        figures = {"commits": len(taken), "p99, then": (first, last), "bytes": max(sizes)}
        for name, figure in figures.items():
            record_property(name, figure)
        assert last < 2 * first
    application.check()
