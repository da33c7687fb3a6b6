"""Batch in flight: it is sent by a thread of its own while the next one is prepared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from auditspan.delivery.batch import Refused
from auditspan.storage import kept_alive

_SOON = 0.05
"""Seconds that a connection waits without being kept alive, which takes several statements."""


class InFlight:
    """Sends a batch from the beginning of a `with` block on, which ends when the sending has ended.

    Only one batch is in flight at a time, so the order of the records and of their acknowledgements
    is that of the table.
    """

    def __init__(self, send: Callable[[], Refused]) -> None:
        self._send = send
        self._outcome = Future[Refused]()
        run = copy_context().run  # as the caller, it emits no telemetry
        self._thread = threading.Thread(target=run, args=(self._run,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.join()

    def refused(self, connection: Connection) -> Refused:
        """Wait for the end, and keep the connection alive; return the items that the sink refuses.

        Raises:
            SinkUnavailableError: the sink is unavailable.
        """
        self._thread.join(_SOON)
        if self._thread.is_alive():
            with kept_alive(connection):
                return self._outcome.result()
        return self._outcome.result()

    def _run(self) -> None:
        try:
            self._outcome.set_result(self._send())
        except BaseException as error:  # noqa: BLE001 (the caller raises it)
            self._outcome.set_exception(error)
