"""A user's code, which only the type checker reads: it keeps its types under a trail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import assert_type

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from auditspan import (
    Actor,
    AsyncTrail,
    AuditTrail,
    Event,
    Exempt,
    MacKey,
    Policy,
    State,
    Target,
    audit_context,
)
from auditspan import AuditTral as _Misspelt  # type: ignore[attr-defined]  # noqa: F401
from auditspan.reading import History


class Base(DeclarativeBase):
    """The models of the application."""


class Invoice(Base):
    """An audited model."""

    __tablename__ = "invoice"
    __audit__ = Policy(redact={"iban"}, ignore={"touched_at"})

    id: Mapped[int] = mapped_column(primary_key=True)
    iban: Mapped[str | None]


class Draft(Base):
    """A model that is not audited."""

    __tablename__ = "draft"
    __audit__ = Exempt("drafts are private until they are sent")

    id: Mapped[int] = mapped_column(primary_key=True)


def over_each_kind_of_sessions(key: MacKey) -> list[AuditTrail]:
    """A trail takes every kind of session factory, and nothing else."""
    plain = sessionmaker(create_engine("sqlite://"))
    asynchronous: async_sessionmaker[AsyncSession] = async_sessionmaker()
    trails = [
        AuditTrail(plain, metadata=Base.metadata, mac_key=key),
        AuditTrail(scoped_session(plain), metadata=Base.metadata, mac_key=None),
        AuditTrail(asynchronous, metadata=Base.metadata),
        AuditTrail(async_scoped_session(asynchronous, scopefunc=object), metadata=Base.metadata),
        AuditTrail(SQLAlchemy().session, metadata=Base.metadata),
        AuditTrail(type("Own", (Session,), {}), metadata=Base.metadata),
    ]
    AuditTrail(Session(), metadata=Base.metadata)  # type: ignore[arg-type]
    AuditTrail(create_engine("sqlite://"), metadata=Base.metadata)  # type: ignore[arg-type]
    return trails


def reading(trail: AuditTrail, session: Session, since: datetime) -> None:
    """What is read is typed, and so are the criteria."""
    invoice = assert_type(session.scalars(select(Invoice)).one(), Invoice)
    assert_type(invoice.iban, str | None)
    (event, *_) = assert_type(trail.history(session, invoice), History)
    assert_type(trail.events(session, actor="7", since=since), Iterator[Event])
    assert_type(event.actor, Actor)
    assert_type(event.target, Target | None)
    assert_type(event.occurred_at, datetime)
    state = trail.as_of(session, Invoice, 42, since)
    assert_type(state, State | None)
    assert_type(trail.revert(session, event), object | None)
    trail.as_of(session, Invoice, 42, "yesterday")  # type: ignore[arg-type]
    trail.events(session, since="yesterday")  # type: ignore[arg-type]
    trail.events(session, colour="red")  # type: ignore[call-arg]
    event.reason = "other"  # type: ignore[misc]


async def reading_asynchronously(trail: AuditTrail, session: AsyncSession, at: datetime) -> None:
    """The methods that `AsyncTrail` has, and `run_sync` for the others, keep their types."""
    audit = AsyncTrail(trail)
    (event, *_) = assert_type(await audit.history(session, Invoice, 42), History)
    assert_type(audit.events(session, actor="7"), AsyncIterator[Event])
    assert_type(await audit.as_of(session, Invoice, 42, at), State | None)
    assert_type(await session.run_sync(trail.as_of, Invoice, 42, at), State | None)
    await audit.revert(session, event)


def writing(trail: AuditTrail, session: Session, invoice: Invoice) -> None:
    """Recording keeps the types of the application."""
    with audit_context(actor=Actor.user(7), reason="month end"):
        assert_type(trail.record(session, "invoice.exported", target=invoice), str)
    trail.record(session, "invoice.exported", outcome="good")  # type: ignore[arg-type]
    Policy(redact="iban", colour="red")  # type: ignore[call-arg]
