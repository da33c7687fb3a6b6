"""A small shop under a trail: what it writes, what is purged, and every check of the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    ForeignKey,
    MetaData,
    Table,
    func,
    select,
    text,
    update,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)

from auditspan import (
    Actor,
    AuditTrail,
    ErasureKey,
    MacKey,
    Policy,
    Privacy,
    Target,
    audit_context,
)
from auditspan.delivery import FileSink, Relay
from auditspan.reading import check_export, export_ndjson
from auditspan.seal import Sealer, Undrained
from auditspan.storage import EventFilter, snapshot
from auditspan.tlog import SigningKey
from auditspan.trail.retention import RetentionPlan
from auditspan.trail.retention.purging import PurgeReport
from auditspan.verify import (
    ReconcileReport,
    StateReport,
    VerifyReport,
    check_state,
    read_witness,
    reconcile,
    verify_trail,
)

T = TypeVar("T")
MAC = MacKey.from_secret(bytes(range(32)))
ERASURE = ErasureKey.from_secret(bytes(range(32)))
KEY = SigningKey(name="auditspan/test", seed=bytes(range(32)))
KIM = Actor.user(7, label="kim")
LEE = Actor.user(8, label="lee")


class Shop:
    """Models with a secret, erasable values and links, their sessions and their trail."""

    def __init__(self, engine: Engine, files: Path) -> None:
        class Base(DeclarativeBase):
            metadata = MetaData()

        tagged = Table(
            "tagged",
            Base.metadata,
            Column("item_id", ForeignKey("item.id"), primary_key=True),
            Column("tag_id", ForeignKey("tag.id"), primary_key=True),
        )

        class Tag(Base):
            __tablename__ = "tag"
            __audit__ = True
            id: Mapped[int] = mapped_column(primary_key=True)

        class Item(Base):
            __tablename__ = "item"
            __audit__ = Policy(redact={"iban"}, erasable={"note"})
            id: Mapped[int] = mapped_column(primary_key=True)
            price: Mapped[int]
            iban: Mapped[str | None]
            note: Mapped[str | None]
            tags: Mapped[list[Tag]] = relationship(secondary=tagged)

        self.Base, self.Item, self.Tag = Base, Item, Tag
        self.engine, self.files = engine, files
        self.sessions = sessionmaker(engine)
        self.trail = AuditTrail(
            self.sessions,
            metadata=Base.metadata,
            mac_key=MAC,
            erasure_key=ERASURE,
            privacy=Privacy(erasable={"label"}),
            sqlite_settings=False,
        )
        Base.metadata.create_all(engine)
        self.tables = self.trail.tables

    @contextmanager
    def writing(self, actor: Actor = KIM) -> Iterator[Session]:
        """A transaction of the application."""
        with audit_context(actor=actor), self.sessions.begin() as session:
            yield session

    def add(self, *ids: int, actor: Actor = KIM) -> None:
        """Create items."""
        with self.writing(actor) as session:
            session.add_all(
                [self.Item(id=one, price=one, iban=f"DE{one}", note=f"note {one}") for one in ids]
            )

    def price(self, id_: int, price: int, actor: Actor = KIM) -> None:
        """Change one item."""
        with self.writing(actor) as session:
            session.get_one(self.Item, id_).price = price

    def remove(self, id_: int) -> None:
        """Delete one item."""
        with self.writing() as session:
            item = session.get_one(self.Item, id_)
            item.tags = []
            session.flush()
            session.delete(item)

    def behind(self, statement: str) -> None:
        """Write as another program does, so that the worker has to record it."""
        raw = self.engine.raw_connection()
        raw.cursor().execute(statement)
        raw.commit()
        raw.close()

    def record_late(self) -> int:
        """Record what other programs wrote, as the worker does."""
        return Undrained(self.engine, self.tables, mac_key=MAC).record()

    def seal(self) -> None:
        """Seal everything, with one checkpoint."""
        while Sealer(self.engine, self.tables, signing_key=KEY, mac_key=MAC).seal():
            pass

    def deliver(self) -> None:
        """Deliver what is sealed, and let time pass until it is confirmed."""
        sink = FileSink(self.files)
        with self.engine.connect() as connection:
            Relay(self.engine, self.tables, sink).deliver(connection)
        sink.close()
        newest = select(func.coalesce(func.max(self.tables.leaf.c.seq), -1)).scalar_subquery()
        with self.engine.begin() as connection:
            connection.execute(update(self.tables.delivery).values(safe_seq=newest))

    def settle(self) -> None:
        """Seal and deliver everything."""
        self.seal()
        self.deliver()

    def now(self) -> datetime:
        """A time after everything so far, and before everything later."""
        time.sleep(0.003)
        found = datetime.now(UTC)
        time.sleep(0.003)
        return found

    def authorise(self, before: datetime, reason: str = "policy 4.2") -> RetentionPlan:
        """Authorise a purge, and deliver its event."""
        with audit_context(actor=LEE), self.sessions() as session:
            plan = self.trail.retention.authorise(session, before=before, reason=reason)
        self.settle()
        return plan

    def purge(self, before: datetime | None = None, **options: Any) -> PurgeReport:
        """Authorise a purge and carry it out."""
        self.authorise(before or self.now())
        return self.trail.retention.purge(**options)

    def verify(self, *, witnessed: bool = True) -> VerifyReport:
        """What `verify` says, with the collector's files."""
        witness = read_witness([self.files], [KEY.public]) if witnessed else None
        with snapshot(self.engine) as connection:
            return verify_trail(connection, self.tables, MAC, [KEY.public], witness=witness)

    def verify_on(self, connection: Connection) -> VerifyReport:
        """What `verify` says to this connection."""
        return verify_trail(connection, self.tables, MAC, [KEY.public])

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read a page of an export."""
        with snapshot(self.engine) as connection:
            return work(connection)

    def ids(self) -> list[str]:
        """The ids of the events, oldest first."""
        event = self.tables.event.c
        with self.engine.connect() as connection:
            return [
                str(one) for one in connection.scalars(select(event.event_id).order_by(event.id))
            ]

    def trail_target(self) -> Target:
        """The target of the records of retention."""
        return Target(type="trail", id="retention")

    def state(self) -> StateReport:
        """What `verify --state` says."""
        with snapshot(self.engine) as connection:
            return check_state(connection, self.tables, self.Base.metadata, mac_key=MAC)

    def reconcile(self) -> ReconcileReport:
        """What `reconcile` says."""
        with snapshot(self.engine) as connection:
            return reconcile(connection, self.tables, [self.files])

    def require_clean(self) -> None:
        """Everything holds."""
        assert [] == self.verify().findings
        assert [] == self.state().differences
        assert self.reconcile().ok, self.reconcile()
        assert 0 == self.disclosures_without_row()
        lines = export_ndjson(self.read, self.tables, EventFilter())
        assert check_export(lines, [KEY.public]) is None

    def disclosures_without_row(self) -> int:
        """The number of erasable values whose events are gone."""
        event, disclosure = self.tables.event.c, self.tables.disclosure
        rows = select(event.event_id)
        left = select(func.count()).where(disclosure.c.event_id.not_in(rows))
        with self.engine.connect() as connection:
            return connection.execute(left.select_from(disclosure)).scalar_one()

    def count(self) -> int:
        """The number of rows."""
        with self.engine.connect() as connection:
            return connection.scalars(select(func.count()).select_from(self.tables.event)).one()

    def leaves(self) -> int:
        """The number of leaves."""
        with self.engine.connect() as connection:
            return connection.scalars(select(func.count()).select_from(self.tables.leaf)).one()

    def run(self, *statements: str, **values: Any) -> None:
        """Execute statements in one transaction."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement), values)
