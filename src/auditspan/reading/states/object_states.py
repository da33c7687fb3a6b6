"""Earlier states of objects, as methods of a trail."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from auditspan.capture import Capture
from auditspan.format import Target
from auditspan.reading import Event, Source
from auditspan.reading.states.baseline import BATCH, Progress, record_baseline
from auditspan.reading.states.family import family_of, family_of_target
from auditspan.reading.states.revert import revert_event
from auditspan.reading.states.state import State
from auditspan.reading.states.timeline import Timeline, When
from auditspan.storage import AuditTables


class ObjectStates:
    """The part of a trail that reads and restores earlier states of objects.

    With asynchronous sessions, use `AsyncTrail`, or pass a method to `session.run_sync`.
    """

    tables: AuditTables
    _capture: Capture

    def as_of(self, source: Source, model: object, key: object, when: When) -> State | None:
        """Return the state of an object at a time, links included.

        Events up to the last one that happened by then are replayed, in the order of the changes. A
        change happens when it is written, not when its transaction commits. What was written in
        `trail.unaudited` is not known.

        Args:
            source: a session or a connection.
            model: an audited model, or an audited table without a model. An object of a subclass is
                found as well, as by `session.get`. Or a `Target`, which names the object itself.
            key: the primary key; a tuple if it has several columns; None with a `Target`.
            when: an aware time; or an event or a change id, for the state just after it.

        Returns:
            The state; None before the creation of the object, or its baseline if it is older than
            the trail, and after its deletion.

        Raises:
            AuditBodyError: an event of the object cannot be read, since it was tampered with.
            AuditConfigError: the model is not audited, the time has no zone, or the trail does not
                have the event.
            PurgedError: the events that would say were removed by a purge.
        """
        connection = source if isinstance(source, Connection) else source.connection()
        if isinstance(model, Target):
            family = family_of_target(model, self._capture.metadata)
            identity = family.identity_of(model, connection.dialect)
        else:
            family, identity = family_of(model), key if isinstance(key, tuple) else (key,)
        return Timeline(
            connection=connection, tables=self.tables, family=family, identity=identity
        ).at(when)

    def revert(
        self, session: Session | scoped_session[Session], event: Event, *, force: bool = False
    ) -> object | None:
        """Undo a creation, an update or a deletion through the session.

        Its events have the id of the undone event in their metadata, as `reverts`, and the actor of
        the context. A deleted object is inserted with its key, and with the links that were
        removed in the transaction of its deletion. The caller commits. Pending changes of the
        session are flushed first; its objects are expired.

        Args:
            session: a session of this trail.
            event: an event from `history` or `events`. To undo what was undone, pass its event.
            force: overwrite columns that changed since, and skip links that changed since.

        Returns:
            The object as changed back or restored; None if it is deleted.

        Raises:
            RevertError: the event cannot be undone exactly; nothing was written.
            MissingActorError: no actor is set.
        """
        plain = session() if isinstance(session, scoped_session) else session
        return revert_event(
            plain,
            self.tables,
            self._capture.metadata,
            event,
            mac_key=self._capture.mac_key,
            force=force,
        )

    def baseline(
        self,
        session: Session | scoped_session[Session],
        *models: object,
        batch: int = BATCH,
        progress: Progress | None = None,
    ) -> int:
        """Record the rows that are older than the trail, and return the number of events.

        Each row without a creation in the trail gets an event `type.baseline` with its values, and
        `baseline: true` in the metadata; so do links. From then on, `as_of` and the state check
        hold for it. The triggers of the trail MUST exist. A second call records only what is
        missing, so an interrupted baseline is resumed by calling it again.

        Args:
            session: a session of this trail without an open transaction; each batch is committed.
                Rows of a batch cannot change meanwhile, so a batch should be small.
            models: the audited models, subclasses included; all of the trail if none is given.
            batch: the maximum number of rows in one transaction.
            progress: called after each batch with the number of rows read since the last call, and
                the number of all rows.

        Raises:
            AuditConfigError: the session is in a transaction, or a model is not audited.
            AuditWriteError: the events could not be written; earlier batches are committed.
            MissingActorError: no actor is set.
        """
        plain = session() if isinstance(session, scoped_session) else session
        return record_baseline(plain, self._capture, models, batch=batch, progress=progress)
