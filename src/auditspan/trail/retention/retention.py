"""`Retention`: purges and legal holds of one trail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, Self

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, scoped_session

from auditspan.capture import Capture
from auditspan.errors import RetentionError
from auditspan.format import HOLD, PURGE, RELEASE, RETENTION_TARGET, Json, MacKeys, Target, attested
from auditspan.reading import Source
from auditspan.storage import PURGING, Purge, read_purges, snapshot
from auditspan.trail.retention.authorise import prepare
from auditspan.trail.retention.holds import (
    Hold,
    HoldCriteria,
    active_holds,
    is_authorised,
)
from auditspan.trail.retention.plan import RetentionPlan, plan_retention
from auditspan.trail.retention.purging import BATCH, Progress, PurgeReport, purge_rows


class Record(Protocol):
    """The method `record` of a trail."""

    def __call__(
        self,
        session: Session | scoped_session[Session],
        action: str,
        *,
        target: object = None,
        reason: str | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> str:
        """Record an event in the caller's transaction."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Purges and legal holds of one trail.

    A purge takes two steps: `authorise` records an event, and `purge` removes the rows once every
    sink has confirmed that event. On PostgreSQL no role should be able to do both.

    Attributes:
        capture: the trail.
        open_engine: opens the engine of its tables.
        record: records an event.
        mac_keys: every MAC key of the trail, the present one first.
    """

    capture: Capture
    open_engine: Callable[[], AbstractContextManager[Engine]]
    record: Record
    mac_keys: MacKeys

    def with_mac_keys(self, mac_keys: MacKeys) -> Self:
        """Return the same with all MAC keys that the trail has had."""
        return replace(self, mac_keys=mac_keys)

    def plan(self, before: datetime, *, sinks: Collection[str] = ()) -> RetentionPlan:
        """Return which rows could be removed now, and what keeps the others; change nothing.

        Args:
            before: the cut-off, aware and in the past; rows recorded later stay.
            sinks: the names of sinks that must have confirmed the rows, besides those that have
                received any.

        Raises:
            RetentionError: the cut-off is invalid.
        """
        with self.open_engine() as engine, snapshot(engine) as connection:
            return plan_retention(
                connection, self.capture.tables, before, sinks=sinks, keys=self.mac_keys
            )

    def authorise(
        self,
        session: Session | scoped_session[Session],
        *,
        before: datetime,
        reason: str,
        sinks: Collection[str] = (),
        progress: Progress | None = None,
    ) -> RetentionPlan:
        """Authorise the removal of the rows that are older than a time.

        Verifies the trail and the live tables, records a baseline of every object whose history
        loses its beginning, and then the event `trail.purge`. Nothing is removed yet: see `purge`.

        Args:
            session: a session of this trail without an open transaction; each batch of baselines
                is committed.
            before: the cut-off, aware and in the past; rows recorded later stay.
            reason: the reason, which is recorded.
            sinks: as for `plan`.
            progress: called with the progress of the baseline.

        Returns:
            The plan. If `rows` is 0 there is nothing to remove, and nothing was recorded; likewise
            if an event authorised the same rows before. Otherwise one of several calls at the same
            time records the event.

        Raises:
            RetentionError: the cut-off is invalid, or the trail or the live tables fail the checks.
            MissingActorError: no actor is set.
        """
        plain = session() if isinstance(session, scoped_session) else session
        with self.open_engine() as engine:
            plan = prepare(
                plain,
                engine,
                self.capture,
                before,
                sinks=sinks,
                keys=self.mac_keys,
                progress=progress,
            )
        if plan.rows and not plan.is_authorised:
            with plain.begin():
                connection, tables = plain.connection(), self.capture.tables
                PURGING.of(connection).lock_authorisation(connection, tables)
                if not is_authorised(connection, tables, plan.size, self.mac_keys):
                    self._state(plain, PURGE, plan.statement.members(), reason)
        return plan

    def purge(
        self,
        *,
        sinks: Collection[str] = (),
        wait: float = 0.0,
        batch: int = BATCH,
        progress: Progress | None = None,
    ) -> PurgeReport:
        """Remove the rows that `authorise` has named; an interrupted call is resumed by another.

        On PostgreSQL, partitions of past months are dropped whole where the purge covers all of
        their rows. This database role needs EXECUTE on `auditspan_purge` and must not be one that
        records events; see docs/how-to/retain-and-remove.md.

        Args:
            sinks: as for `plan`.
            wait: the number of seconds to wait until the sinks have confirmed the event.
            batch: the number of row ids in one transaction.
            progress: called after each batch with the number of rows removed since the last call,
                and the number of all.

        Raises:
            RetentionError: this role may not purge, the event is not confirmed by every sink, a
                legal hold is newer than it, or rows differ from what was sealed.
        """
        with self.open_engine() as engine:
            return purge_rows(
                engine,
                self.capture.tables,
                self.mac_keys,
                sinks=sinks,
                wait=wait,
                batch=batch,
                progress=progress,
            )

    def purges(self, source: Source) -> list[Purge]:
        """Return the authorised purges, oldest first; each covers the rows of those before it."""
        return read_purges(_connection(source), self.capture.tables, self.mac_keys)

    def hold(
        self,
        session: Session | scoped_session[Session],
        *,
        reason: str,
        target: Target | None = None,
        actor: str | None = None,
        until: datetime | None = None,
    ) -> str:
        """Place a legal hold, in the caller's transaction, and return its id.

        No purge removes an event that meets all the criteria, nor any later one: a purge ends
        before the first held event. Without criteria, every event is held.

        Args:
            session: a session of this trail.
            reason: the reason, which is recorded.
            target: the target; without an id, all targets of its type.
            actor: the id or the label of the actor.
            until: the first time that is not held, aware.

        Raises:
            RetentionError: the time has no zone.
            MissingActorError: no actor is set.
        """
        if until is not None and until.tzinfo is None:
            raise RetentionError("until has no time zone: pass an aware datetime")
        criteria = HoldCriteria(target=target, actor=actor, until=until)
        return self._state(session, HOLD, criteria.members(), reason)

    def release(
        self, session: Session | scoped_session[Session], hold_id: str, *, reason: str
    ) -> str:
        """Release a legal hold, in the caller's transaction, and return the id of the event.

        Raises:
            RetentionError: no active hold has this id.
            MissingActorError: no actor is set.
        """
        if hold_id not in {one.id for one in self.holds(session)}:
            raise RetentionError(f"no active hold has the id {hold_id!r}")
        return self._state(session, RELEASE, {"hold": hold_id}, reason)

    def holds(self, source: Source) -> list[Hold]:
        """Return the active legal holds, oldest first."""
        return active_holds(_connection(source), self.capture.tables, self.mac_keys)

    def _state(
        self,
        session: Session | scoped_session[Session],
        action: str,
        members: Mapping[str, Json],
        reason: str,
    ) -> str:
        """Record an event of retention."""
        return self.record(
            session,
            action,
            target=Target(type=RETENTION_TARGET[0], id=RETENTION_TARGET[1]),
            reason=reason,
            metadata=attested(action, members, self.capture.mac_key),
        )


def _connection(source: Source) -> Connection:
    return source if isinstance(source, Connection) else source.connection()
