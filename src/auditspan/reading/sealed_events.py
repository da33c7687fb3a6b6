"""The sealed events that an export holds, read page by page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from auditspan.errors import NotSealedError
from auditspan.reading.search import by_id_or_label
from auditspan.storage import (
    AuditTables,
    EventFilter,
    StoredCheckpoint,
    StoredEvent,
    latest_checkpoint,
    sealed_page,
)

_T = TypeVar("_T")


class Read(Protocol):
    """Function that runs another one on a connection, a page at a time."""

    def __call__(self, work: Callable[[Connection], _T], /) -> _T:
        """Return the result of `work`."""


def newest_checkpoint(read: Read, tables: AuditTables) -> StoredCheckpoint:
    """Return the newest checkpoint, which bounds an export.

    Raises:
        NotSealedError: nothing is sealed yet.
    """
    found = read(lambda connection: latest_checkpoint(connection, tables))
    if found is None:
        raise NotSealedError("nothing is sealed yet, so that there is nothing to export")
    return found


def sealed_events(
    read: Read, tables: AuditTables, wanted: EventFilter, size: int
) -> Iterator[StoredEvent]:
    """Yield the events that pass the filter, of the first `size` ones, in sequence order."""
    named = read(lambda connection: by_id_or_label(connection, tables, wanted))
    after: int | None = -1
    while after is not None:
        start = after
        page, after = read(
            lambda connection, start=start: sealed_page(  # type: ignore[misc]
                connection, tables, named, after=start, size=size
            )
        )
        yield from page


def json_line(members: Mapping[str, Any]) -> str:
    """Return a line of JSON in ASCII, with its newline."""
    return json.dumps(members, separators=(",", ":")) + "\n"


def event_time(event: StoredEvent) -> str | None:
    """Return the time of an event, or of its row; None after tampering that left neither."""
    times = (str(event.resource()["occurred_at"]), event.recorded_at)
    return next(filter(is_time, times), None)


def is_time(text: str | None) -> bool:
    """Return whether this is a time, which a row may lack after tampering."""
    try:
        return datetime.fromisoformat(str(text)).tzinfo is not None
    except ValueError:
        return False
