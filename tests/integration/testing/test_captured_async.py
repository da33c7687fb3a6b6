"""`captured_async`: the same for the async kinds of engine, connection and session."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)

from auditspan import AuditConfigError, AuditTrail, audit_context
from auditspan.testing import captured_async
from integration.testing.notes import KIM, Base, Note, words


async def in_turn(url: str) -> dict[str, list[str]]:
    """What each async kind of bind shows of one committed note and one that is not."""
    engine = create_async_engine(url)
    sessions = async_sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    shown = {}
    for kind in ("engine", "sessionmaker", "connection", "session", "scoped"):
        shown[kind] = await look(engine, sessions, trail, kind)
    await engine.dispose()
    return shown


async def look(
    engine: AsyncEngine, sessions: async_sessionmaker[Any], trail: AuditTrail, kind: str
) -> list[str]:
    """A block in which one note is committed; another is written in the transaction at hand."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(sessions())
        scope = async_scoped_session(sessions, lambda: 1)
        stack.push_async_callback(scope.remove)
        kinds = {"engine": engine, "sessionmaker": sessions, "session": session, "scoped": scope}
        bind = kinds[kind] if kind in kinds else await session.connection()
        writer = scope() if kind == "scoped" else session
        async with captured_async(trail, bind) as events:
            with pytest.raises(AuditConfigError, match="access them after the block"):
                len(events)
            writer.add(Note(words=f"{kind}-1"))
            if kind in {"engine", "sessionmaker"}:
                await writer.commit()
            else:
                await writer.flush()
        if kind not in {"engine", "sessionmaker"}:
            await writer.rollback()
    return words(events)


def test_events_of_async_sessions(engine: Engine) -> None:
    """Every async bind shows what its sync kind shows, in an open transaction too."""
    driver = "sqlite+aiosqlite" if engine.dialect.name == "sqlite" else "postgresql+psycopg"
    url = engine.url.set(drivername=driver).render_as_string(hide_password=False)
    with audit_context(actor=KIM):
        shown = asyncio.run(in_turn(url))
    assert {kind: [f"{kind}-1"] for kind in shown} == shown


async def in_memory() -> list[list[str]]:
    """What an engine shows whose one connection everybody shares."""
    engine = create_async_engine("sqlite+aiosqlite://")
    sessions = async_sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with captured_async(trail, engine) as events, sessions.begin() as session:
        session.add(Note(words="a"))
    async with sessions.begin() as session:
        session.add(Note(words="b"))
        await session.flush()
        with pytest.raises(AuditConfigError, match="only connection of this engine"):
            async with captured_async(trail, engine):
                pass
        async with captured_async(trail, session) as more:
            session.add(Note(words="c"))
            await session.flush()
    await engine.dispose()
    return [words(events), words(more)]


def test_the_only_connection_is_not_taken_away() -> None:
    """SQLite in memory: an engine is refused while its one connection is in a transaction."""
    with audit_context(actor=KIM):
        assert [["a"], ["c"]] == asyncio.run(in_memory())
