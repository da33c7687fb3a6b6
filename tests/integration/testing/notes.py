"""Notes under a trail, and what tests do with them."""

from __future__ import annotations

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from auditspan import Actor, AuditTrail
from auditspan.testing import CapturedEvents

KIM = Actor.user(7, label="kim")


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    __audit__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str] = mapped_column(unique=True)


def write(sessions: sessionmaker[Session], *words: str) -> None:
    """Commit a note for each word."""
    with sessions.begin() as session:
        session.add_all([Note(words=word) for word in words])


def words(events: CapturedEvents) -> list[str]:
    """The words of the notes that were created."""
    return [event.new["words"] for event in events.of("note.create")]


def left(engine: Engine, trail: AuditTrail) -> tuple[int, int]:
    """How many notes and events another connection sees."""
    with engine.connect() as other:
        notes = other.scalar(select(func.count()).select_from(Note)) or 0
        return notes, other.scalar(select(func.count()).select_from(trail.tables.event)) or 0
