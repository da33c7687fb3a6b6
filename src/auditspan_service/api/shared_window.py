"""A rate limit in a Redis server: a sliding window that several processes share."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from limits import RateLimitItem
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from auditspan.telemetry import type_name
from auditspan_service.api.sliding_window import SlidingWindow

_TIMEOUT = 0.5
"""The seconds that a request waits for the server, twice: to connect and to answer."""

_RETRY = 5.0
"""The seconds for which the server is not asked after it failed."""

_logger = logging.getLogger(__name__)


def open_shared_limiter(url: str) -> SlidingWindowCounterRateLimiter:
    """Create the limiter of a Redis server; it connects on first use."""
    storage = storage_from_string(
        url, wrap_exceptions=True, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
    )
    return SlidingWindowCounterRateLimiter(storage)


@dataclass(kw_only=True)
class SharedWindow:
    """Counter of what each key did in a sliding window, in all processes.

    While the server does not answer, this process counts for itself: a limit protects the service,
    so its absence must not stop it.

    Attributes:
        limiter: the limiter of the server.
        item: the limit.
        name: the namespace of its keys.
        own: counts while the server does not answer.
    """

    limiter: SlidingWindowCounterRateLimiter
    item: RateLimitItem
    name: str
    own: SlidingWindow
    _failed_at: float = float("-inf")

    def wait(self, key: str) -> float:
        """Count an act of a key; return 0, or the seconds after which it is permitted again.

        What is refused is not counted.
        """
        if time.monotonic() - self._failed_at < _RETRY:
            return self.own.wait(key)
        try:
            if self.limiter.hit(self.item, self.name, key):
                return 0
            stats = self.limiter.get_window_stats(self.item, self.name, key)
            return max(1.0, stats.reset_time - time.time())
        except StorageError as error:
            self._failed_at = time.monotonic()
            cause = type_name(error.storage_error)
            _logger.warning("rate limits are counted by this process alone: %s", cause)
            return self.own.wait(key)
