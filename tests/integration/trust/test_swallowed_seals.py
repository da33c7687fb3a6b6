"""Sealer and relay, if the database drops their rows without an error."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from auditspan import AuditWriteError
from auditspan.delivery.cursors import load_cursors
from auditspan.delivery.relay import Relay
from integration.trust.test_quarantine import Particular
from integration.trust.world import Trail

SWALLOWING = {
    "sqlite": [
        "CREATE TRIGGER swallow BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END",
    ],
    "postgresql": [
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER swallow BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION swallow()",
    ],
}


def swallow(trail: Trail, table: str) -> None:
    """Let the database drop every row that is inserted into this table."""
    with trail.engine.begin() as connection:
        for statement in SWALLOWING[trail.engine.dialect.name]:
            connection.execute(text(statement.format(table=table)))


def test_leaves_without_their_checkpoint_are_not_committed(fresh: Trail) -> None:
    """The sealer raises, and commits nothing, when the checkpoint was not inserted."""
    swallow(fresh, "audit_checkpoint")
    fresh.write(2)
    with pytest.raises(AuditWriteError):
        fresh.sealer().seal()
    assert 0 == fresh.report().tree_size


def test_leaves_that_were_dropped_are_not_sealed(fresh: Trail) -> None:
    """The sealer seals nothing when its leaves were not inserted."""
    swallow(fresh, "audit_leaf")
    fresh.write(2)
    assert 0 == fresh.sealer().seal()
    assert [] == fresh.sizes()


@pytest.mark.parametrize("table", ["audit_quarantine", "audit_delivery"])
def test_cursor_does_not_pass_a_refusal_that_was_not_recorded(fresh: Trail, table: str) -> None:
    """The relay raises when the quarantined row, or its cursor, was not inserted."""
    with fresh.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_delivery"))
    swallow(fresh, table)
    fresh.write(4)
    fresh.seal()
    sink = Particular(fresh.folder, "1")
    with fresh.engine.connect() as connection, pytest.raises(AuditWriteError):
        Relay(fresh.engine, fresh.tables, sink).deliver(connection)
    sink.close()
    with fresh.engine.connect() as connection:
        assert load_cursors(connection, fresh.tables, "file").sent < 1
