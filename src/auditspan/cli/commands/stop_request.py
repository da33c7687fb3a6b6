"""The request to stop a command that runs until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select


class StopRequest:
    """A request to stop, made by Ctrl-C or SIGTERM.

    Unlike a `threading.Event`, it ends a wait of the main thread also if another thread received
    the signal, or if it came just before the wait; and the handler takes no lock that the main
    thread may hold.
    """

    def __init__(self, woken: socket.socket) -> None:
        self._woken = woken
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether the command was asked to stop."""
        return self._is_set

    def set(self, *_: object) -> None:
        """Ask the command to stop; a handler of signals."""
        self._is_set = True

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the request, at most for some seconds; return whether it was made."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self._is_set:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select([self._woken], [], [], left)[0]:
                break
            with suppress(BlockingIOError):
                self._woken.recv(1024)
        return self._is_set


@contextmanager
def stop_signal() -> Iterator[StopRequest]:
    """Yield a request that Ctrl-C and SIGTERM make; restore the previous handlers afterwards."""
    woken, waking = socket.socketpair()
    with woken, waking:
        woken.setblocking(False)  # noqa: FBT003 (the standard library's)
        waking.setblocking(False)  # noqa: FBT003
        stopped = StopRequest(woken)
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.signal(kind, stopped.set) for kind in kinds}
        descriptor = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        try:
            yield stopped
        finally:
            signal.set_wakeup_fd(descriptor)
            for kind, handler in before.items():
                signal.signal(kind, handler)
