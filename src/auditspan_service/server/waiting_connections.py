"""Connections that wait for their clients in a worker's event loop, with deadlines."""

from __future__ import annotations

import selectors
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

_CHECK_SECONDS = 0.25

Connection: TypeAlias = Any
"""A connection of gunicorn, which has no types."""


@dataclass(kw_only=True)
class Wait:
    """Wait of a connection for its client.

    Attributes:
        deadline: the deadline on the monotonic clock.
        on_readable: called when data can be read.
        on_late: called after the deadline has passed and the wait has ended.
    """

    deadline: float
    on_readable: Callable[[], None]
    on_late: Callable[[], None]


class WaitingConnections:
    """Waiting connections in order of arrival."""

    def __init__(self, poller: selectors.BaseSelector) -> None:
        self._poller = poller
        self._waits: dict[Connection, Wait] = {}
        self._next_check = 0.0

    def __len__(self) -> int:
        return len(self._waits)

    def add(self, connection: Connection, wait: Wait) -> None:
        """Add a waiting connection."""
        self._waits[connection] = wait

        def on_event(_socket: object) -> None:
            if self._waits.get(connection) is wait:  # not removed since it was polled
                wait.on_readable()

        self._poller.register(connection.sock, selectors.EVENT_READ, on_event)

    def remove(self, connection: Connection) -> None:
        """End the wait of a connection, if it waits."""
        if self._waits.pop(connection, None) is not None:
            with suppress(OSError, KeyError, ValueError):
                self._poller.unregister(connection.sock)

    def limit_to(self, seconds: float) -> None:
        """Bring every deadline forward to at most `seconds` from now."""
        latest = time.monotonic() + seconds
        for wait in self._waits.values():
            wait.deadline = min(wait.deadline, latest)

    def expire(self) -> None:
        """End the waits whose deadline has passed."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + _CHECK_SECONDS
        late = [(one, wait) for one, wait in self._waits.items() if wait.deadline <= now]
        for connection, wait in late:
            self.remove(connection)
            wait.on_late()

    def oldest(self) -> Connection | None:
        """Return the connection that has waited longest, if any."""
        return next(iter(self._waits), None)
