"""Verified API keys, remembered for some seconds, so that a request needs no query for its key."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from auditspan_service.accounts.api_keys import ParsedKey
from auditspan_service.accounts.principals import Principal

_MOST = 10_000


@dataclass(kw_only=True)
class KeyCache:
    """The verified keys of this process; none is remembered for longer than `seconds`.

    A revoked key, or one of a deactivated user, is therefore refused after that time at the latest.

    Attributes:
        seconds: the time for which a key is remembered; 0 to remember none.
        clock: a monotonic clock in seconds.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _known: dict[int, tuple[str, float, Principal]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def find(self, parsed: ParsedKey) -> Principal | None:
        """Return the principal of a key that was verified a moment ago, else None."""
        hashed, until, principal = self._known.get(parsed.id, ("", 0.0, None))
        is_right = hmac.compare_digest(parsed.hash, hashed)
        if principal is None or not is_right or self.clock() >= until or principal.is_expired:
            return None
        return principal

    def remember(self, parsed: ParsedKey, principal: Principal, read_at: float) -> None:
        """Remember a key that is valid, from the time before it was read."""
        until = read_at + self.seconds
        if until <= self.clock():
            return
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[parsed.id] = (parsed.hash, until, principal)
