"""Connections that wait for their client in a worker's event loop, each until a deadline."""

from __future__ import annotations

import selectors
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_CHECK_SECONDS = 0.25


@dataclass(kw_only=True)
class Guest:
    """A connection that waits.

    Attributes:
        deadline: on the monotonic clock.
        on_readable: called when there is something to read.
        on_late: called once the deadline has passed, when the connection waits no longer.
    """

    deadline: float
    on_readable: Callable[[], None]
    on_late: Callable[[], None]


class Lobby:
    """The waiting connections, in the order in which they came."""

    def __init__(self, poller: selectors.BaseSelector) -> None:
        self._poller = poller
        self._guests: dict[Any, Guest] = {}
        self._next_check = 0.0

    def __len__(self) -> int:
        return len(self._guests)

    def admit(self, connection: Any, guest: Guest) -> None:  # noqa: ANN401 (of gunicorn)
        """Let a connection wait."""
        self._guests[connection] = guest

        def on_event(_socket: object) -> None:
            if self._guests.get(connection) is guest:  # not dismissed since the poller looked
                guest.on_readable()

        self._poller.register(connection.sock, selectors.EVENT_READ, on_event)

    def dismiss(self, connection: Any) -> None:  # noqa: ANN401 (of gunicorn)
        """End the wait of a connection, if it waits."""
        if self._guests.pop(connection, None) is not None:
            with suppress(OSError, KeyError, ValueError):
                self._poller.unregister(connection.sock)

    def give_at_most(self, seconds: float) -> None:
        """Bring every deadline forward to so many seconds from now."""
        latest = time.monotonic() + seconds
        for guest in self._guests.values():
            guest.deadline = min(guest.deadline, latest)

    def dismiss_late(self) -> None:
        """End the waits whose deadline has passed."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + _CHECK_SECONDS
        late = [(one, guest) for one, guest in self._guests.items() if guest.deadline <= now]
        for connection, guest in late:
            self.dismiss(connection)
            guest.on_late()

    def oldest(self) -> Any | None:  # noqa: ANN401 (of gunicorn)
        """The connection that has waited longest."""
        return next(iter(self._guests), None)
