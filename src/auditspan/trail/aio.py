"""A trail for asynchronous sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, Unpack

from auditspan.reading import Criteria, Event, History
from auditspan.reading.states import BATCH, Progress, State, When
from auditspan.trail.erasure import Erasure
from auditspan.trail.trail import AuditTrail

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

AsyncSource: TypeAlias = "AsyncSession | AsyncConnection"
"""A place to read a trail from."""

_PAGE = 500


class AsyncTrail:
    """The methods of a trail that read, record and restore, for asynchronous sessions.

    Args:
        trail: a trail over an `async_sessionmaker` or an `async_scoped_session`.
    """

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    async def history(self, source: AsyncSource, target: object, key: object = None) -> History:
        """Return the events of one object; see `AuditTrail.history`."""
        return await source.run_sync(self._trail.history, target, key)

    async def events(
        self, source: AsyncSource, *, target: object = None, **criteria: Unpack[Criteria]
    ) -> AsyncIterator[Event]:
        """Yield the events that meet all criteria, newest first; see `AuditTrail.events`."""
        found = await source.run_sync(lambda it: self._trail.events(it, target=target, **criteria))
        while page := await source.run_sync(lambda _: [*islice(found, _PAGE)]):
            for event in page:
                yield event

    async def as_of(
        self, source: AsyncSource, model: object, key: object, when: When
    ) -> State | None:
        """Return the state of an object at a time; see `AuditTrail.as_of`."""
        return await source.run_sync(self._trail.as_of, model, key, when)

    async def revert(
        self, session: AsyncSession, event: Event, *, force: bool = False
    ) -> object | None:
        """Undo a creation, an update or a deletion; see `AuditTrail.revert`."""
        return await session.run_sync(self._trail.revert, event, force=force)

    async def erase(
        self,
        session: AsyncSession,
        subject_type: str,
        subject_id: object,
        *,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Erasure:
        """Erase the values of a subject; see `AuditTrail.erase`."""
        return await session.run_sync(
            self._trail.erase, subject_type, subject_id, reason=reason, dry_run=dry_run
        )

    async def baseline(
        self,
        session: AsyncSession,
        *models: object,
        batch: int = BATCH,
        progress: Progress | None = None,
    ) -> int:
        """Record the rows that are older than the trail; see `AuditTrail.baseline`."""
        return await session.run_sync(self._trail.baseline, *models, batch=batch, progress=progress)
