"""A sealed, signed and delivered trail on a real database, and an attacker with every right."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, MetaData, delete, insert, select, text, update

from auditspan import Actor, MacKey, Service, Target
from auditspan.delivery.relay import Relay
from auditspan.delivery.sinks import FileSink, Sink
from auditspan.format.ids import uuid7
from auditspan.format.record import AuditRecord
from auditspan.seal.last_signed import LastSigned
from auditspan.seal.sealer import Sealer
from auditspan.storage import snapshot
from auditspan.storage.leaves import sealed_leaves
from auditspan.storage.new_events import insert_records
from auditspan.storage.tables import AuditTables, audit_tables
from auditspan.tlog.checkpoint import sign_checkpoint
from auditspan.tlog.merkle import Tree, hash_leaf
from auditspan.tlog.note import SigningKey
from auditspan.verify.finding import Finding
from auditspan.verify.trail import VerifyReport, verify_trail
from auditspan.verify.witness import read_witness
from auditspan_service.database.engine import make_engine
from support.attacker import take_guards_away

MAC = MacKey.from_secret(bytes(range(32)))
FOREIGN_MAC = MacKey.from_secret(bytes(32))
KEY = SigningKey(name="auditspan/test", seed=bytes(range(32)))
FOREIGN = SigningKey(name="auditspan/test", seed=bytes(32))
OTHER_LOG = SigningKey(name="auditspan/other", seed=bytes(32))


def record(number: int, *, length: int = 0) -> AuditRecord:
    """A record with every member, and a text of some length."""
    moment = datetime.now(UTC)
    return AuditRecord(
        event_id=uuid7(int(moment.timestamp() * 1000), number.to_bytes(10, "big")),
        occurred_at=moment,
        action="user.update",
        actor=Actor.user(7, label="kim"),
        tx_id="tx",
        service=Service(name="shop"),
        target=Target(type="user", id=str(number), version=1),
        changes={"n": {"old": number, "new": "n" * length}},
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        tenant="acme",
    )


@dataclass(kw_only=True)
class Trail:
    """A trail with a file that its relay writes.

    Attributes:
        engine: where it is.
        folder: below it the sink writes, as a collector would.
        tables: its tables.
        written: how many rows there are; those to come have larger numbers.
        last_signed: what its sealers ask before they sign.
    """

    engine: Engine
    folder: Path
    tables: AuditTables = field(init=False)
    written: int = 0
    last_signed: LastSigned | None = None

    def __post_init__(self) -> None:
        metadata = MetaData()
        self.tables = audit_tables(metadata)
        metadata.create_all(self.engine)

    def write(self, count: int = 1, key: MacKey | None = MAC) -> None:
        """Commit rows as the application does."""
        numbers = range(self.written, self.written + count)
        with self.engine.begin() as connection:
            insert_records(connection, self.tables, [record(n) for n in numbers], key)
        self.written += count

    def sealer(self, batch: int = 100, keys: Sequence[SigningKey] = (KEY,)) -> Sealer:
        """A sealer as the worker has it."""
        return Sealer(
            self.engine,
            self.tables,
            batch=batch,
            signing_key=keys,
            mac_key=MAC,
            last_signed=self.last_signed,
        )

    def seal(self, batch: int = 100, keys: Sequence[SigningKey] = (KEY,)) -> None:
        """Seal everything that is committed."""
        sealer = self.sealer(batch, keys)
        while sealer.seal():
            pass

    def deliver(self, sink: Sink | None = None) -> None:
        """Deliver what is sealed."""
        used = sink or FileSink(self.folder)
        with self.engine.connect() as connection:
            Relay(self.engine, self.tables, used).deliver(connection)
        used.close()

    def grow(self, *counts: int) -> None:
        """Write, seal and deliver; a checkpoint for each count."""
        for count in counts:
            self.write(count)
            self.seal()
        self.deliver()

    @contextmanager
    def attack(self) -> Iterator[Attack]:
        """Act with the owner's rights; afterwards everything is restored."""
        with self.engine.connect() as connection:
            take_guards_away(connection)
            yield Attack(connection=connection, trail=self)
            connection.rollback()

    def report(self, *, witnessed: bool = False, since: int = 0) -> VerifyReport:
        """Return the report of the verifier."""
        with snapshot(self.engine) as connection:
            return self.report_on(connection, witnessed=witnessed, since=since)

    def report_on(
        self, connection: Connection, *, witnessed: bool = False, since: int = 0
    ) -> VerifyReport:
        """Return the report of the verifier on this connection."""
        keys = [KEY.public]
        witness = read_witness([self.folder], keys) if witnessed else None
        return verify_trail(connection, self.tables, MAC, keys, witness=witness, since=since)

    def sizes(self) -> list[int]:
        """The sizes of the checkpoints."""
        with snapshot(self.engine) as connection:
            return sizes_on(connection, self.tables)


def sizes_on(connection: Connection, tables: AuditTables) -> list[int]:
    """The sizes of the checkpoints that this connection sees."""
    size = tables.checkpoint.c.tree_size
    return list(connection.scalars(select(size).order_by(size)))


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A manipulation of a trail in one transaction, and the findings of the verifier."""

    connection: Connection
    trail: Trail

    def run(self, *statements: str, **values: Any) -> None:
        """Execute some statements."""
        for statement in statements:
            self.connection.execute(text(statement), values)

    def found(self, *, witnessed: bool = False, since: int = 0) -> list[Finding]:
        """The findings of the verifier."""
        report = self.trail.report_on(self.connection, witnessed=witnessed, since=since)
        return report.findings

    def kinds(self, *, witnessed: bool = False, since: int = 0) -> set[str]:
        """Their kinds."""
        return {one.kind for one in self.found(witnessed=witnessed, since=since)}

    def cut(self, size: int) -> None:
        """Take away all rows from `size` on, leaving tables that are whole in themselves."""
        tables = self.trail.tables
        sizes = [one for one in sizes_on(self.connection, tables) if one < size]
        event, leaf = tables.event, tables.leaf
        kept = select(leaf.c.row_id).where(leaf.c.seq < size)
        self.connection.execute(delete(event).where(event.c.id.not_in(kept)))
        self.connection.execute(delete(leaf).where(leaf.c.seq >= size))
        self.seal_again([*sizes, size])

    def rewrite(self, seq: int) -> None:
        """Change one row and everything that follows from it, with the true keys."""
        tables = self.trail.tables
        event, leaf = tables.event, tables.leaf
        one = next(iter(list(sealed_leaves(self.connection, tables, seq))))
        body = str(one.body).replace('"kim"', '"eve"')
        mac = MAC.sign(body)
        hashed = hash_leaf(row_id=one.row_id, recorded_at=str(one.recorded_at), mac=mac, body=body)
        changed = update(event).where(event.c.id == one.row_id).values(body=body, mac=mac)
        self.connection.execute(changed)
        self.connection.execute(update(leaf).where(leaf.c.seq == seq).values(leaf_hash=hashed))
        self.seal_again(sizes_on(self.connection, tables))

    def empty(self) -> None:
        """Take away everything."""
        for table in vars(self.trail.tables).values():
            self.connection.execute(delete(table))

    def seal_again(self, sizes: Sequence[int]) -> None:
        """Replace all checkpoints by signed ones over the leaves as they are now."""
        leaf, point = self.trail.tables.leaf.c, self.trail.tables.checkpoint
        hashes = list(self.connection.scalars(select(leaf.leaf_hash).order_by(leaf.seq)))
        self.connection.execute(delete(point))
        for size in sizes:
            tree = Tree().append(hashes[:size])
            values = {"tree_size": size, "root_hash": tree.root, "frontier": tree.dump()}
            note = sign_checkpoint(KEY, tree, 1)
            self.connection.execute(insert(point), {**values, "note": note})


@contextmanager
def opened(url: str, folder: Path) -> Iterator[Trail]:
    """A trail on the database of this URL."""
    engine = make_engine(url)
    try:
        yield Trail(engine=engine, folder=folder)
    finally:
        engine.dispose()


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the log of auditspan; exporters of earlier tests may still complain."""
    return [one for one in caplog.records if one.name.startswith("auditspan.")]
