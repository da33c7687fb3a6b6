"""A rate limit in memory: a sliding window that is approximated by two counters for each key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST = 10_000


@dataclass(kw_only=True)
class SlidingWindow:
    """Counter of what each key did in the last `seconds`.

    The count of the previous window is weighted with the part of it that is still in the sliding
    one. The storage in memory of `limits`, whose notation the settings have, starts a thread every
    ten milliseconds while it counts, which took a sixth of the time of a request.

    Attributes:
        limit: how often a key may act in that time.
        seconds: the length of the window.
        clock: the time in seconds.
    """

    limit: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _counts: dict[str, tuple[int, int, int]] = field(default_factory=dict, init=False)
    """Number of the current window, and the counts of the previous and of the current one."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def wait(self, key: str) -> float:
        """Count an act of a key; return 0, or the seconds after which it is permitted again.

        What is refused is not counted.
        """
        with self._lock:
            window, passed = divmod(self.clock() / self.seconds, 1)
            previous, current = self._of(key, int(window))
            if previous * (1 - passed) + current + 1 <= self.limit:
                self._counts[key] = (int(window), previous, current + 1)
                return 0
        if current < self.limit:
            return self.seconds * (_room(previous, self.limit - current - 1) - passed)
        return self.seconds * (1 - passed + _room(current, self.limit - 1))

    def _of(self, key: str, window: int) -> tuple[int, int]:
        if key not in self._counts and len(self._counts) >= _MOST:
            self._forget(window)
        last, previous, current = self._counts.get(key, (window, 0, 0))
        if last == window:
            return previous, current
        return (current if last == window - 1 else 0), 0

    def _forget(self, window: int) -> None:
        """Forget the keys that did nothing in these two windows; all, if there are too many."""
        kept = {key: one for key, one in self._counts.items() if one[0] >= window - 1}
        self._counts = kept if len(kept) < _MOST else {}


def _room(count: int, rest: int) -> float:
    """Return the part of a window after which the one before it counts as at most `rest`."""
    return max(0.0, 1 - rest / count)
