"""Rate limits: requests of one key, and failed authentications of one client.

Each process counts for itself, in memory: a limit protects the service against a client that has
gone wild; it does not enforce a quota.
"""

from __future__ import annotations

import math

from limits import parse

from auditspan_service.api.problems import Problem
from auditspan_service.config import Settings
from auditspan_service.sliding_window import SlidingWindow


class RateLimits:
    """Counters of this process."""

    def __init__(self, settings: Settings) -> None:
        self._requests = _window(settings.rate_limit)
        self._failures = _window(settings.failure_limit)

    def count_request(self, caller: str) -> None:
        """Count a request of this caller.

        Raises:
            Problem: the caller has sent too many.
        """
        _count(self._requests, caller, "This key has sent too many requests.")

    def count_failure(self, client: str | None) -> None:
        """Count a failed authentication of this client.

        Raises:
            Problem: the client has failed too often.
        """
        detail = "This client has failed to authenticate too often."
        _count(self._failures, client or "", detail)


def _count(window: SlidingWindow | None, who: str, detail: str) -> None:
    wait = window.wait(who) if window else 0
    if wait:
        headers = {"Retry-After": str(math.ceil(wait))}
        raise Problem.of("too-many-requests", detail, headers=headers)


def _window(setting: str) -> SlidingWindow | None:
    if setting == "off":
        return None
    item = parse(setting)
    return SlidingWindow(limit=item.amount, seconds=item.get_expiry())
