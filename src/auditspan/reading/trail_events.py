"""Events of a trail, as methods of the trail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Unpack

from auditspan.errors import AuditConfigError
from auditspan.mapping import as_target, target_of
from auditspan.reading.criteria import Criteria, wanted_events
from auditspan.reading.event import Event
from auditspan.reading.history import History
from auditspan.reading.search import Source, read_events, read_history
from auditspan.storage import AuditTables


class TrailEvents:
    """The part of a trail that reads its events."""

    tables: AuditTables

    def history(self, source: Source, target: object, key: object = None) -> History:
        """Return the events of one object, in the order in which the changes happened.

        Its attribute `purged` is set where retention may have removed earlier events of the object.
        Changes of a transaction that has not committed yet are not among them. With asynchronous
        sessions: `await session.run_sync(trail.history, invoice)`.

        Args:
            source: a session or a connection.
            target: an audited object or a `Target`; or an audited model with its key.
            key: with a model, the primary key; a tuple where it has several columns.

        Raises:
            AuditConfigError: the target is not audited.
        """
        found = as_target(target) if key is None else target_of(target, key)
        if found is None or found.id is None:
            raise AuditConfigError(
                "history needs an object, a Target with an id, or a model with a key"
            )
        return read_history(source, self.tables, found.type, found.id)

    def events(
        self, source: Source, *, target: object = None, **criteria: Unpack[Criteria]
    ) -> Iterator[Event]:
        """Yield the events that meet all criteria, newest first; rows are read page by page.

        Args:
            source: a session or a connection.
            target: an audited object, a `Target`, or an audited model for all of its objects.
            criteria: see `reading.Criteria`.

        Raises:
            AuditConfigError: the target is not audited, or no event can meet a criterion.
        """
        return read_events(source, self.tables, wanted_events(target, criteria))
