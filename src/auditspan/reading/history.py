"""History of one object."""

from __future__ import annotations

from collections.abc import Iterable

from auditspan.reading.event import Event
from auditspan.storage import Purge


class History(list[Event]):
    """Events of one object, in the order in which the changes happened.

    Attributes:
        purged: the purge that has removed earlier events, of this object or of others; None if
            there was no purge, or if the history begins with the creation of the object.
    """

    def __init__(self, events: Iterable[Event], *, purged: Purge | None) -> None:
        super().__init__(events)
        self.purged = purged
