"""Rate limits: requests of one key, and failed authentications of one client.

A limit protects the service against a client that has gone wild; it does not enforce a quota. By
default each process counts for itself, in memory; `AUDITSPAN_LIMIT_STORAGE` lets all processes
count together in a Redis server.
"""

from __future__ import annotations

import math
import os
import re
from typing import Protocol

from limits import parse

from auditspan_service.api.problems import Problem
from auditspan_service.api.sliding_window import SlidingWindow
from auditspan_service.config import Settings


class Window(Protocol):
    """Counter of what each key did in a sliding window."""

    def wait(self, key: str) -> float:
        """Count an act of a key; return 0, or the seconds after which it is permitted again."""


class RateLimits:
    """The counters of both limits."""

    def __init__(self, settings: Settings) -> None:
        self._requests = _window("requests", settings.rate_limit, settings.limit_storage)
        self._failures = _window("failures", settings.failure_limit, settings.limit_storage)

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


def notes_on_limits(settings: Settings) -> list[str]:
    """Return what an operator of several processes should know about these limits."""
    workers, is_limited = _workers(), {settings.rate_limit, settings.failure_limit} != {"off"}
    if workers == 1 or not is_limited or settings.limit_storage != "memory":
        return []
    note = (
        f"Each of the {workers} processes of gunicorn counts rate limits for itself, so that a key "
        f"may send {workers} times as many requests: set AUDITSPAN_LIMIT_STORAGE to a Redis server."
    )
    return [note]


def _workers() -> int:
    """Return the number of gunicorn's processes, by the variables that gunicorn reads."""
    given = re.search(r"(?:-w|--workers)[ =]?(\d+)", os.environ.get("GUNICORN_CMD_ARGS", ""))
    text = given[1] if given else os.environ.get("WEB_CONCURRENCY", "")
    return int(text) if text.isdecimal() else 1


def _count(window: Window | None, who: str, detail: str) -> None:
    wait = window.wait(who) if window else 0
    if wait:
        headers = {"Retry-After": str(math.ceil(wait))}
        raise Problem.of("too-many-requests", detail, headers=headers)


def _window(name: str, setting: str, storage: str) -> Window | None:
    if setting == "off":
        return None
    item = parse(setting)
    own = SlidingWindow(limit=item.amount, seconds=item.get_expiry())
    if storage == "memory":
        return own
    # Imported here, because it needs the client of Redis, which may not be installed.
    from auditspan_service.api.shared_window import (
        SharedWindow,
        open_shared_limiter,
    )

    limiter = open_shared_limiter(storage)
    return SharedWindow(limiter=limiter, item=item, name=f"auditspan.{name}", own=own)
