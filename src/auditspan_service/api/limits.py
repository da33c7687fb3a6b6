"""Rate limits: requests of one key, and failed authentications of one client.

Each process counts for itself, in memory: a limit protects the service against a client that has
gone wild; it does not enforce a quota.
"""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from auditspan_service.api.problems import Problem
from auditspan_service.config import Settings


class RateLimits:
    """Counters of this process."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._requests = _item(settings.rate_limit)
        self._failures = _item(settings.failure_limit)

    def count_request(self, caller: str) -> None:
        """Count a request of this caller.

        Raises:
            Problem: the caller has sent too many.
        """
        self._count(self._requests, "request", caller, "This key has sent too many requests.")

    def count_failure(self, client: str | None) -> None:
        """Count a failed authentication of this client.

        Raises:
            Problem: the client has failed too often.
        """
        detail = "This client has failed to authenticate too often."
        self._count(self._failures, "failure", client or "", detail)

    def _count(self, item: RateLimitItem | None, kind: str, who: str, detail: str) -> None:
        if item is None or self._limiter.hit(item, kind, who):
            return
        wait = self._limiter.get_window_stats(item, kind, who).reset_time - time.time()
        headers = {"Retry-After": str(max(1, math.ceil(wait)))}
        raise Problem.of("too-many-requests", detail, headers=headers)


def _item(setting: str) -> RateLimitItem | None:
    return None if setting == "off" else parse(setting)
