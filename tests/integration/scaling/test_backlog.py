"""A backlog of many batches is sealed whole, whatever commits meanwhile and whoever seals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from auditspan.storage.new_events import insert_records
from integration.scaling.conftest import partition
from integration.trust.world import MAC, Trail, opened, record

BATCH = 100


@pytest.fixture(params=["one table", "partitions"])
def empty(request: pytest.FixtureRequest, postgres_url: str, tmp_path: Path) -> Iterator[Trail]:
    """A trail without a row."""
    with opened(postgres_url, tmp_path) as trail:
        if request.param == "partitions":
            partition(trail.engine)
        yield trail


def sealed_ids(trail: Trail) -> list[int]:
    """The rows in the order of their sequence numbers."""
    leaf = trail.tables.leaf.c
    with trail.engine.connect() as connection:
        return list(connection.scalars(select(leaf.row_id).order_by(leaf.seq)))


def test_a_late_commit_of_an_early_id(empty: Trail) -> None:
    """A row that commits while the backlog is worked off, with an id behind it, is sealed."""
    sealer = empty.sealer(BATCH)
    with empty.engine.connect() as late, empty.engine.connect() as later:
        insert_records(late, empty.tables, [record(9001)], MAC)
        empty.write(150)
        insert_records(later, empty.tables, [record(9002)], MAC)
        empty.write(150)
        assert BATCH == sealer.seal()
        late.commit()
        assert BATCH == sealer.seal()
        later.commit()
        empty.write(5)
        while sealer.seal():
            pass
    assert set(range(1, 308)) == set(sealed_ids(empty))
    assert empty.report().ok


def test_another_sealer_in_between(empty: Trail) -> None:
    """Who takes over begins where the checkpoint says, and the first one notices."""
    first, second = empty.sealer(BATCH), empty.sealer(BATCH)
    with empty.engine.connect() as late:
        insert_records(late, empty.tables, [record(9001)], MAC)
        empty.write(450)
        for sealer in (first, second, first, first):
            assert BATCH == sealer.seal()
        late.commit()
        while first.seal() + second.seal():
            pass
    assert set(range(1, 452)) == set(sealed_ids(empty))
    assert empty.report().ok


def test_each_batch_is_in_the_order_of_the_ids(empty: Trail) -> None:
    """Without late commits the whole backlog is."""
    empty.write(10 * BATCH)
    empty.seal(BATCH)
    assert list(range(1, 10 * BATCH + 1)) == sealed_ids(empty)
