"""Log of a loop that retries for ever, in which an outage is two lines and not thousands."""

from __future__ import annotations

import logging

from sqlalchemy.exc import InterfaceError, OperationalError

from auditspan.telemetry.exception_text import without_values


class RetryLog:
    """Log failures of a loop: an unavailable database once for each reason, others with traceback.

    Args:
        logger: the logger of the loop.
        what: the work, as in "sealing".
    """

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._reason: str | None = None

    def failed(self, error: Exception, wait: float) -> None:
        """Log a failure, after which the loop waits for some seconds."""
        if not isinstance(error, OperationalError | InterfaceError):
            self._logger.error("%s failed; retrying in %.1f s", self._what, wait, exc_info=error)
            return
        reason = " ".join(without_values(error.orig or error).split())
        if reason != self._reason:
            self._reason = reason
            self._logger.error(
                "%s is interrupted, because the database failed: %s; committed rows wait in the "
                "table, and it is tried again until the database answers",
                self._what,
                reason,
            )

    def succeeded(self) -> None:
        """Log that the loop works again, if it had been interrupted."""
        if self._reason is not None:
            self._reason = None
            self._logger.warning("%s continues: the database answers again", self._what)
