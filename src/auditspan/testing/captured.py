"""Capture of the audit events of a block, read from the table itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, overload

from sqlalchemy.exc import SQLAlchemyError

from auditspan.errors import AuditConfigError, AuditError
from auditspan.testing.event import Event
from auditspan.testing.reading import Bind, events_after, newest, read, read_async
from auditspan.trail import AuditTrail

if TYPE_CHECKING:
    from auditspan.testing.reading import AsyncBind


class CapturedEvents(Sequence[Event]):
    """Audit events in the order in which they were written, with lookups for assertions.

    They equal a list of the same events.
    """

    def __init__(self, look: Callable[[], list[Event]]) -> None:
        self._look = look

    @property
    def actions(self) -> list[str]:
        """The action of each event."""
        return [event.action for event in self]

    def of(
        self, action: str | None = None, *, by: str | None = None, about: str | None = None
    ) -> list[Event]:
        """Return the events of this action, actor and target; omitted arguments match any.

        Args:
            action: as in ``invoice.update``.
            by: the actor, as in ``user/7``.
            about: the target, as in ``invoice/42``.
        """
        return [
            event
            for event in self
            if action in {None, event.action}
            and by in {None, event.by}
            and about in {None, event.about}
        ]

    def one(
        self, action: str | None = None, *, by: str | None = None, about: str | None = None
    ) -> Event:
        """Return the one event of this action, actor and target.

        Raises:
            AssertionError: there is none, or more than one; the message lists the events found.
        """
        found = self.of(action, by=by, about=about)
        if len(found) != 1:
            asked = " ".join(filter(None, (action, about, by and f"by {by}"))) or "any kind"
            raise AssertionError(f"expected one event of {asked}, found {len(found)} in {self!r}")
        return found[0]

    def keep(self) -> None:
        """Keep the current events, and ignore later ones."""
        kept = self._look()
        self._look = lambda: kept

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._look()[index]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._look())

    def __len__(self) -> int:
        return len(self._look())

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it may grow, as a list does

    def __repr__(self) -> str:
        return f"<{len(self)} audit events: {'; '.join(map(str, self)) or 'none'}>"


def since_now(trail: AuditTrail, bind: Bind) -> CapturedEvents:
    """Return the events that are written from now on; each access reads again."""
    after = read(bind, trail.tables, newest)
    return CapturedEvents(lambda: read(bind, trail.tables, events_after(after)))


@contextmanager
def captured(trail: AuditTrail, bind: Bind) -> Iterator[CapturedEvents]:
    """Capture the audit events that are written while the block runs, by any program.

    Inside the block, each access reads again; when the block ends, the events are fixed. If it
    ends with an exception and reading fails (an aborted transaction), the next access reads.

    Reading in an open transaction records its changes so far, as its COMMIT would.

    Args:
        trail: the trail that records the events.
        bind: the bind to read through, which determines the visible events. An engine or a
            `sessionmaker` sees committed events. A connection or a session with an open
            transaction also sees events written in it; reading does not flush, commit or roll back.

    Raises:
        AuditWriteError: the changes of the open transaction cannot be recorded.
        MissingActorError: no actor is set for these changes.
    """
    events = since_now(trail, bind)
    try:
        yield events
    except BaseException:
        with suppress(SQLAlchemyError, AuditError):
            events.keep()
        raise
    events.keep()


@asynccontextmanager
async def captured_async(trail: AuditTrail, bind: AsyncBind) -> AsyncIterator[CapturedEvents]:
    """Capture audit events like `captured`, for async engines, connections and sessions.

    The events are available after the block has ended without an exception.
    """
    events = CapturedEvents(_too_early)
    after = await read_async(bind, trail.tables, newest)
    yield events
    kept = await read_async(bind, trail.tables, events_after(after))
    events._look = lambda: kept  # noqa: SLF001 (created above)


def _too_early() -> list[Event]:
    raise AuditConfigError(
        "the events of captured_async are read when its block ends: access them after the block"
    )
