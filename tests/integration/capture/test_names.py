"""Columns and relationships may have any name that the database allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Integer, Table, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from auditspan.seal import Sealer
from auditspan.verify import verify_trail
from integration.capture.application import KEY, Application, make_application


class Base(DeclarativeBase):
    """Models whose tables, columns and relationships have odd names."""


class Mark(Base):
    """A mark that garments may have."""

    __tablename__ = "märke"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)


worn = Table(
    "vêtement_märke",
    Base.metadata,
    Column("vêtement", Integer, ForeignKey("vêtement.id"), primary_key=True),
    Column("märke", Integer, ForeignKey(Mark.id), primary_key=True),
)


class Garment(Base):
    """A garment; its columns sort differently by code points and by UTF-16 code units."""

    __tablename__ = "vêtement"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column("größe")
    fit: Mapped[str] = mapped_column("👕")
    note: Mapped[str | None] = mapped_column("\ufffd '\"%")
    zeichen: Mapped[list[Mark]] = relationship(secondary=worn)


@pytest.fixture
def application(engine: Engine) -> Iterator[Application]:
    """Garments under a trail."""
    yield make_application(engine, Base.metadata)
    Base.metadata.drop_all(engine)


def test_names_outside_ascii_are_recorded_found_restored_and_verified(
    application: Application,
) -> None:
    """By the session and by raw SQL; reading, reverting, sealing and verifying know them."""
    trail = application.trail
    with application.unit_of_work() as session:
        session.add(Garment(id=1, size=38, fit="loose", zeichen=[Mark(id=7)]))
        trail.record(session, "garment.washed", metadata={"Straße": {"👕": 1, "\ufffd": 2}})
    with application.unit_of_work() as session:
        session.execute(text('UPDATE "vêtement" SET "größe" = 40'))
    created, _, linked, _, changed = (changes for _, _, changes in application.told())
    assert ["größe", "id", "👕", "\ufffd '\"%"] == [*created]
    assert {"zeichen": {"added": ["7"]}} == linked
    assert {"größe": {"old": 38, "new": 40}} == changed
    with Session(application.engine) as session:
        found = [*trail.events(session, field="größe", action="garment.update")]
        assert [changed] == [event.changes for event in found]
        washed = next(iter(trail.events(session, action="garment.washed")))
        assert {"Straße": {"👕": 1, "\ufffd": 2}} == washed.metadata
        state = trail.as_of(session, Garment, 1, washed.occurred_at)
        assert state is not None
        assert (38, "loose") == (state["größe"], state["👕"])
    with application.unit_of_work() as session:
        trail.revert(session, found[0])
    with Session(application.engine) as session:
        garment = session.get_one(Garment, 1)
        assert (38, "loose", [7]) == (garment.size, garment.fit, [m.id for m in garment.zeichen])
    Sealer(application.engine, trail.tables, mac_key=KEY).seal()
    with application.engine.connect() as connection:  # nothing else writes
        assert verify_trail(connection, trail.tables, KEY).ok
    application.check()
