"""Leases of relays that start at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text

from auditspan.storage.locks import StoredLease, leases
from integration.trust.world import Trail
from support.relaying import wait_for

NAME = "auditspan.relay.file"
IS_WAITING = text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database())"
)


@pytest.mark.parametrize("fresh", ["postgresql"], indirect=True)
def test_one_of_two_that_start_at_once_takes_a_new_lease(fresh: Trail) -> None:
    """The second waited for the row of the first, finds the lease taken, and leaves no row."""
    table, engine = fresh.tables.delivery, fresh.engine

    def is_waiting() -> bool:
        with engine.connect() as connection:
            return bool(connection.scalar(IS_WAITING))

    with engine.connect() as one, engine.connect() as other, ThreadPoolExecutor(1) as pool:
        with one.begin():
            first = leases._acquire(one, fresh.tables, NAME)  # noqa: SLF001 (not committed yet)
            second = pool.submit(leases.acquire, other, fresh.tables, NAME)
            wait_for(is_waiting)
        found = second.result()
    assert isinstance(first, leases.Lease)
    assert (True, first.key) == (isinstance(found, StoredLease), found.key)
    with engine.connect() as connection:
        of_leases = select(table.c.sink).where(table.c.sink.startswith("lease:"))
        assert [first.key] == list(connection.scalars(of_leases))
